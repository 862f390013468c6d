//! The terminal: lines that stay, and a block that is written over once a second.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// Where the demo shows what it does. A reader that has gone away is no failure.
pub struct Screen {
    out: Box<dyn Write>,
    terminal: bool,
    /// Lines of the block that the cursor stands below.
    block: usize,
}

impl Screen {
    /// Standard output: the block is only written over on a terminal.
    pub fn stdout() -> Screen {
        let out = Box::new(io::stdout());
        Screen { terminal: io::stdout().is_terminal(), out, block: 0 }
    }

    /// Any other place, which is no terminal.
    pub fn to(out: impl Write + 'static) -> Screen {
        Screen { out: Box::new(out), terminal: false, block: 0 }
    }

    /// Writes a line that stays.
    pub fn say(&mut self, line: impl AsRef<str>) {
        self.block = 0;
        self.write(&format!("{}\n", line.as_ref()));
    }

    /// Shows the block in place of the one before; without a terminal, one line below the last.
    pub fn show(&mut self, block: &[String], line: &str) {
        if !self.terminal {
            return self.say(line);
        }
        let up = match self.block {
            0 => String::new(),
            lines => format!("\x1b[{lines}A"),
        };
        let lines: Vec<_> = block.iter().map(|line| format!("\x1b[2K{line}\n")).collect();
        self.write(&format!("{up}{}", lines.concat()));
        self.block = block.len();
    }

    fn write(&mut self, text: &str) {
        let _ = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
    }
}

/// A place for a [`Screen`] that keeps what is shown, for tests.
#[derive(Clone, Default)]
pub struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    /// All that was written.
    pub fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A number with its thousands apart: `12,345`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(terminal: bool) -> String {
        let written = Written::default();
        let mut screen = Screen { terminal, ..Screen::to(written.clone()) };
        for second in ["1", "2"] {
            screen.show(&[format!("a {second}"), format!("b {second}")], second);
        }
        screen.say("end");
        written.text()
    }

    #[test]
    fn a_block_is_written_over_on_a_terminal_and_a_line_follows_elsewhere() {
        let (first, second) = ("\x1b[2Ka 1\n\x1b[2Kb 1\n", "\x1b[2Ka 2\n\x1b[2Kb 2\n");
        assert_eq!(shown(true), format!("{first}\x1b[2A{second}end\n"));
        assert_eq!(shown(false), "1\n2\nend\n");
    }

    #[test]
    fn thousands_stand_apart() {
        let cases = [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")];
        for (number, text) in cases {
            assert_eq!(grouped(number), text);
        }
    }
}

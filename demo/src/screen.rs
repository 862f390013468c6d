//! The terminal: lines that stay, and a block that is written over once a second.

use std::io::{self, IsTerminal, Write};

/// Standard output. A reader that has gone away is no failure.
pub struct Screen {
    terminal: bool,
    /// Lines of the block that the cursor stands below.
    block: usize,
}

impl Screen {
    /// Standard output as it is: a block is only written over on a terminal.
    pub fn stdout() -> Screen {
        Screen { terminal: io::stdout().is_terminal(), block: 0 }
    }

    /// Writes a line that stays.
    pub fn say(&mut self, line: impl AsRef<str>) {
        self.block = 0;
        write(&format!("{}\n", line.as_ref()));
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
        write(&format!("{up}{}", lines.concat()));
        self.block = block.len();
    }
}

fn write(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// A number with its thousands apart: `12,345`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        let cases = [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")];
        for (number, text) in cases {
            assert_eq!(grouped(number), text);
        }
    }
}

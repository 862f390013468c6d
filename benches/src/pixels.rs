//! Rows of 784 numbers, and their names.

macro_rules! ones {
    ($h:literal, $t:literal) => {
        [
            concat!("p", $h, $t, "0"),
            concat!("p", $h, $t, "1"),
            concat!("p", $h, $t, "2"),
            concat!("p", $h, $t, "3"),
            concat!("p", $h, $t, "4"),
            concat!("p", $h, $t, "5"),
            concat!("p", $h, $t, "6"),
            concat!("p", $h, $t, "7"),
            concat!("p", $h, $t, "8"),
            concat!("p", $h, $t, "9"),
        ]
    };
}

macro_rules! tens {
    ($h:literal) => {
        [
            ones!($h, "0"),
            ones!($h, "1"),
            ones!($h, "2"),
            ones!($h, "3"),
            ones!($h, "4"),
            ones!($h, "5"),
            ones!($h, "6"),
            ones!($h, "7"),
            ones!($h, "8"),
            ones!($h, "9"),
        ]
    };
}

const ALL: [[[&str; 10]; 10]; 8] = [
    tens!("0"),
    tens!("1"),
    tens!("2"),
    tens!("3"),
    tens!("4"),
    tens!("5"),
    tens!("6"),
    tens!("7"),
];

/// Their names.
pub const NAMES: &[&str] = ALL.as_flattened().as_flattened().split_at(784).0;

//! Text in cells of a terminal: how wide it is, how it is cut, and which characters may reach it.

use std::borrow::Cow;
use std::fmt::Write;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// How many cells a line takes.
pub(super) fn width(line: &str) -> usize {
    line.width()
}

/// The text with every control character but the newline spelled out: data must not move the cursor, and a tab has
/// no width of its own.
pub(super) fn printable(text: &str) -> String {
    if !text.contains(is_unsafe) {
        return text.to_string();
    }
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\t' => safe.push_str("\\t"),
            '\r' => safe.push_str("\\r"),
            unsafe_one if is_unsafe(unsafe_one) => {
                write!(safe, "\\u{{{:x}}}", u32::from(unsafe_one)).expect("a String takes all text");
            }
            other => safe.push(other),
        }
    }
    safe
}

/// Control characters, and the marks that turn the direction of what follows them.
fn is_unsafe(character: char) -> bool {
    (character.is_control() && character != '\n')
        || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The line, or as much of it as leaves room for an ellipsis.
pub(super) fn cut(line: &str, limit: usize) -> Cow<'_, str> {
    if width(line) <= limit {
        return line.into();
    }
    let mut room = limit.saturating_sub(1);
    let mut kept = String::new();
    for character in line.chars() {
        let cells = character.width().unwrap_or(0);
        if cells > room {
            break;
        }
        room -= cells;
        kept.push(character);
    }
    kept.push('…');
    kept.into()
}

/// The line in a cell of this width, or wider if it is.
pub(super) fn pad(line: &str, cells: usize, at_right: bool) -> String {
    let space = " ".repeat(cells.saturating_sub(width(line)));
    if at_right { space + line } else { line.to_string() + &space }
}

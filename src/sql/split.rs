//! Cuts a text that arrives in pieces into statements, at each `;` that is not inside something.
//!
//! Knows as much of PostgreSQL's lexical rules as that takes: `'...'` (a backslash is a plain character), `E'...'`
//! (a backslash escapes), `"..."`, `$tag$...$tag$`, `-- ...` and `/* ... */`, which nests. Whether a statement means
//! anything is the parser's concern, so every text can be split and nothing here fails.

#[cfg(test)]
mod tests;

/// Takes pieces of a text, gives whole statements without their semicolon.
///
/// A text that holds nothing but space and comments is no statement. Each byte is looked at once, however small the
/// pieces are; only what has no semicolon yet is kept.
#[derive(Debug)]
pub struct Splitter {
    /// The text from the start of the current statement.
    buffer: String,
    /// How much of `buffer` is behind us. Always before what must be seen together with its next byte.
    scanned: usize,
    state: State,
    /// Where the state was last entered that is plain: what is before belongs to no identifier that goes on.
    plain_from: usize,
    /// Nothing but space and comments so far.
    blank: bool,
    /// The line on which `buffer` starts, from 1.
    line: usize,
    /// The line on which the last statement started.
    statement_line: usize,
}

/// What the next byte is inside of.
#[derive(Debug, PartialEq, Eq)]
enum State {
    Plain,
    /// `'...'` or `"..."`: a doubled quote closes and opens again, which comes to the same.
    Quoted(u8),
    /// `E'...'`.
    Escaped,
    /// `$tag$...`, with the text that ends it.
    Dollar(String),
    LineComment,
    /// How many `/*` are open.
    BlockComment(usize),
}

enum Step {
    /// These bytes belong to the statement, and this is the state after them.
    Take(usize, State),
    /// As `Take`, without a change of state.
    Skip(usize),
    /// The semicolon that ends the statement.
    End,
    /// The next byte decides, and is not here yet.
    Wait,
}

impl Default for Splitter {
    fn default() -> Self {
        Self {
            buffer: String::new(),
            scanned: 0,
            state: State::Plain,
            plain_from: 0,
            blank: true,
            line: 1,
            statement_line: 1,
        }
    }
}

impl Splitter {
    /// A splitter at the start of a text.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next piece of the text.
    pub fn push(&mut self, text: &str) {
        self.buffer.push_str(text);
    }

    /// The next whole statement, if its semicolon has arrived.
    pub fn next_statement(&mut self) -> Option<String> {
        self.scan(false)
    }

    /// At the end of the text: a statement that no semicolon ended. To be called until it gives `None`; after that
    /// the splitter is at the start of a new text.
    pub fn finish(&mut self) -> Option<String> {
        if let Some(statement) = self.scan(true) {
            return Some(statement);
        }
        let last = self.cut(self.buffer.len());
        if last.is_none() {
            *self = Self::default();
        }
        last
    }

    /// Takes back what follows the last statement, on the line after it: data for `COPY ... FROM STDIN`.
    pub fn take_rest(&mut self) -> String {
        let rest = std::mem::take(&mut self.buffer);
        self.line += newlines(&rest);
        (self.scanned, self.state, self.plain_from, self.blank) = (0, State::Plain, 0, true);
        let rest_of_line = rest.find('\n').filter(|end| rest[..*end].trim().is_empty());
        rest_of_line.map_or(rest.clone(), |end| rest[end + 1..].to_string())
    }

    /// Whether all that was pushed has been given back: what is left is space and closed comments.
    pub fn is_empty(&self) -> bool {
        self.blank && self.scanned == self.buffer.len() && matches!(self.state, State::Plain | State::LineComment)
    }

    /// The line, counted from 1, on which the last statement started.
    pub fn statement_line(&self) -> usize {
        self.statement_line
    }

    fn scan(&mut self, at_end: bool) -> Option<String> {
        while self.scanned < self.buffer.len() {
            match self.step(at_end) {
                Step::Skip(bytes) => self.advance(bytes),
                Step::Take(bytes, state) => {
                    self.advance(bytes);
                    if state == State::Plain {
                        self.plain_from = self.scanned;
                    }
                    self.state = state;
                }
                Step::End => {
                    let statement = self.cut(self.scanned);
                    // The semicolon itself.
                    self.buffer.drain(..1);
                    if statement.is_some() {
                        return statement;
                    }
                }
                Step::Wait => return None,
            }
        }
        None
    }

    fn advance(&mut self, bytes: usize) {
        let taken = &self.buffer.as_bytes()[self.scanned..self.scanned + bytes];
        let is_comment = matches!(self.state, State::LineComment | State::BlockComment(_));
        // The two bytes that open a comment are taken in the plain state.
        let opens_comment = self.state == State::Plain && (taken == b"--" || taken == b"/*");
        if !is_comment && !opens_comment && !taken.iter().all(u8::is_ascii_whitespace) {
            self.blank = false;
        }
        self.scanned += bytes;
    }

    /// Takes the statement that ends at `end` out of the buffer; `None` if it is blank.
    fn cut(&mut self, end: usize) -> Option<String> {
        let text: String = self.buffer.drain(..end).collect();
        let start = text.len() - text.trim_start().len();
        let blank = std::mem::replace(&mut self.blank, true);
        self.scanned = 0;
        (self.state, self.plain_from) = (State::Plain, 0);
        let first_line = self.line + newlines(&text[..start]);
        self.line += newlines(&text);
        if blank || text.trim().is_empty() {
            return None;
        }
        self.statement_line = first_line;
        Some(text.trim().to_string())
    }

    fn step(&self, at_end: bool) -> Step {
        let rest = &self.buffer.as_bytes()[self.scanned..];
        match &self.state {
            State::Plain => self.plain(rest, at_end),
            State::Quoted(quote) => match find(rest, |byte| byte == *quote) {
                Some(end) => Step::Take(end + 1, State::Plain),
                None => Step::Skip(rest.len()),
            },
            State::Escaped => escaped(rest, at_end),
            State::Dollar(closing) => self.dollar(closing),
            State::LineComment => match find(rest, |byte| byte == b'\n') {
                Some(end) => Step::Take(end + 1, State::Plain),
                None => Step::Skip(rest.len()),
            },
            State::BlockComment(depth) => block_comment(rest, *depth, at_end),
        }
    }

    fn plain(&self, rest: &[u8], at_end: bool) -> Step {
        let opens_something = |byte| matches!(byte, b';' | b'\'' | b'"' | b'-' | b'/' | b'$');
        match find(rest, opens_something) {
            None => return Step::Skip(rest.len()),
            Some(0) => {}
            Some(run) => return Step::Skip(run),
        }
        match (rest[0], rest.get(1)) {
            (b';', _) => Step::End,
            (b'\'', _) if self.follows_escape_prefix() => Step::Take(1, State::Escaped),
            (quote @ (b'\'' | b'"'), _) => Step::Take(1, State::Quoted(quote)),
            (b'-' | b'/', None) if !at_end => Step::Wait,
            (b'-', Some(b'-')) => Step::Take(2, State::LineComment),
            (b'/', Some(b'*')) => Step::Take(2, State::BlockComment(1)),
            (b'$', _) if !self.follows_identifier(0) => dollar_tag(rest, at_end),
            _ => Step::Skip(1),
        }
    }

    /// Whether an identifier reaches up to `back` bytes before here. A number alone is none: `1$a$` begins a quoted text.
    fn follows_identifier(&self, back: usize) -> bool {
        let before = self.scanned.saturating_sub(back).max(self.plain_from);
        let before = &self.buffer.as_bytes()[self.plain_from..before];
        let digits = before.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        before[..before.len() - digits].last().is_some_and(|byte| is_identifier(*byte))
    }

    /// Whether the quote here is that of `E'...'`, where the `E` is a word of its own.
    fn follows_escape_prefix(&self) -> bool {
        let before = self.scanned.checked_sub(1).map(|at| self.buffer.as_bytes()[at]);
        matches!(before, Some(b'e' | b'E')) && !self.follows_identifier(1)
    }

    fn dollar(&self, closing: &str) -> Step {
        let rest = &self.buffer[self.scanned..];
        if let Some(at) = rest.find(closing) {
            return Step::Take(at + closing.len(), State::Plain);
        }
        // The closing tag may be half here.
        match rest.floor_char_boundary(rest.len().saturating_sub(closing.len() - 1)) {
            0 => Step::Wait,
            safe => Step::Skip(safe),
        }
    }
}

fn escaped(rest: &[u8], at_end: bool) -> Step {
    match find(rest, |byte| matches!(byte, b'\\' | b'\'')) {
        None => return Step::Skip(rest.len()),
        Some(0) => {}
        Some(run) => return Step::Skip(run),
    }
    match (rest[0], rest.get(1)) {
        (_, None) if !at_end => Step::Wait,
        (b'\\', Some(_)) | (_, Some(b'\'')) => Step::Skip(2),
        (b'\\', None) => Step::Skip(1),
        _ => Step::Take(1, State::Plain),
    }
}

fn block_comment(rest: &[u8], depth: usize, at_end: bool) -> Step {
    match find(rest, |byte| matches!(byte, b'*' | b'/')) {
        None => return Step::Skip(rest.len()),
        Some(0) => {}
        Some(run) => return Step::Skip(run),
    }
    match (rest[0], rest.get(1)) {
        (_, None) if !at_end => Step::Wait,
        (b'/', Some(b'*')) => Step::Take(2, State::BlockComment(depth + 1)),
        (b'*', Some(b'/')) if depth == 1 => Step::Take(2, State::Plain),
        (b'*', Some(b'/')) => Step::Take(2, State::BlockComment(depth - 1)),
        _ => Step::Skip(1),
    }
}

/// At a `$` that follows no identifier: `$$` and `$tag$` open a text, `$1` does not.
fn dollar_tag(rest: &[u8], at_end: bool) -> Step {
    let tag = find(&rest[1..], |byte| byte == b'$' || !is_identifier(byte));
    match tag {
        None if at_end => Step::Skip(rest.len()),
        None => Step::Wait,
        Some(length) if rest[1 + length] == b'$' && !rest[1].is_ascii_digit() => {
            let closing = String::from_utf8_lossy(&rest[..length + 2]).into_owned();
            Step::Take(length + 2, State::Dollar(closing))
        }
        Some(length) => Step::Skip(1 + length),
    }
}

/// A byte that can be inside an identifier, the `$` included.
fn is_identifier(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || !byte.is_ascii()
}

fn find(bytes: &[u8], wanted: impl Fn(u8) -> bool) -> Option<usize> {
    bytes.iter().position(|byte| wanted(*byte))
}

fn newlines(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count()
}

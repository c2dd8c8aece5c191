//! What Go's JSON decoder says about a text that is not JSON.
//!
//! Clients and their tests compare Docker's messages, and Docker passes on those of Go's
//! `encoding/json` scanner. This walks a text that serde has refused, the way that scanner
//! does, only to find the words; it decodes nothing and does not recurse.

/// What is wrong with a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Mistake {
    /// The scanner's words.
    Syntax(String),
    /// One JSON value, then something else.
    Trailing,
}

/// Finds the first mistake; `None` when the text is one JSON value.
pub(super) fn mistake(bytes: &[u8]) -> Option<Mistake> {
    let mut scanner = Scanner {
        bytes,
        at: 0,
        nesting: Vec::new(),
    };
    if scanner.peek_after_space().is_none() {
        return Some(Mistake::Syntax(
            "got EOF while reading request body".to_owned(),
        ));
    }
    if let Err(words) = scanner.value() {
        return Some(Mistake::Syntax(words));
    }
    scanner.peek_after_space().map(|_| Mistake::Trailing)
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The closing bytes of the arrays and objects we are in.
    nesting: Vec<u8>,
}

type Step<T = ()> = Result<T, String>;

impl Scanner<'_> {
    /// One whole value.
    fn value(&mut self) -> Step {
        loop {
            let opened = self.begin_value("looking for beginning of value")?;
            if opened {
                continue;
            }
            if !self.end_value()? {
                return Ok(());
            }
        }
    }

    /// The first bytes of a value; true when they opened an object or array with something
    /// inside, which is the next value to read.
    fn begin_value(&mut self, looking_for: &str) -> Step<bool> {
        match self.next_after_space()? {
            b'{' => {
                self.nesting.push(b'}');
                if self.peek_after_space() == Some(b'}') {
                    return Ok(false);
                }
                self.key("looking for beginning of object key string")?;
                Ok(true)
            }
            b'[' => {
                self.nesting.push(b']');
                Ok(self.peek_after_space() != Some(b']'))
            }
            b'"' => self.string().map(|()| false),
            b't' => self.literal("true").map(|()| false),
            b'f' => self.literal("false").map(|()| false),
            b'n' => self.literal("null").map(|()| false),
            first @ (b'-' | b'0'..=b'9') => self.number(first).map(|()| false),
            other => Err(unexpected(other, looking_for)),
        }
    }

    /// What follows a value: closes what ends here; true when another value follows.
    fn end_value(&mut self) -> Step<bool> {
        while let Some(close) = self.nesting.last().copied() {
            let looking_for = match close {
                b'}' => "after object key:value pair",
                _ => "after array element",
            };
            match self.next_after_space()? {
                b if b == close => {
                    self.nesting.pop();
                }
                b',' if close == b'}' => {
                    self.key("looking for beginning of object key string")?;
                    return Ok(true);
                }
                b',' => return Ok(true),
                other => return Err(unexpected(other, looking_for)),
            }
        }
        Ok(false)
    }

    fn key(&mut self, looking_for: &str) -> Step {
        match self.next_after_space()? {
            b'"' => self.string()?,
            other => return Err(unexpected(other, looking_for)),
        }
        match self.next_after_space()? {
            b':' => Ok(()),
            other => Err(unexpected(other, "after object key")),
        }
    }

    /// The rest of a string, its quote already read.
    fn string(&mut self) -> Step {
        loop {
            match self.next()? {
                b'"' => return Ok(()),
                b'\\' => self.escape()?,
                control @ 0..=0x1f => return Err(unexpected(control, "in string literal")),
                _ => {}
            }
        }
    }

    fn escape(&mut self) -> Step {
        match self.next()? {
            b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"' => Ok(()),
            b'u' => {
                for _ in 0..4 {
                    let digit = self.next()?;
                    if !digit.is_ascii_hexdigit() {
                        return Err(unexpected(digit, "in \\u hexadecimal character escape"));
                    }
                }
                Ok(())
            }
            other => Err(unexpected(other, "in string escape code")),
        }
    }

    /// The rest of a word, its first letter already read.
    fn literal(&mut self, word: &str) -> Step {
        for expected in word.bytes().skip(1) {
            let found = self.next()?;
            if found != expected {
                let looking_for = format!("in literal {word} (expecting {})", quoted(expected));
                return Err(unexpected(found, &looking_for));
            }
        }
        Ok(())
    }

    /// The rest of a number, its first byte already read.
    fn number(&mut self, first: u8) -> Step {
        let lead = match first {
            b'-' => self.digit("in numeric literal")?,
            digit => digit,
        };
        if lead != b'0' {
            self.digits();
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digit("after decimal point in numeric literal")?;
            self.digits();
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digit("in exponent of numeric literal")?;
            self.digits();
        }
        Ok(())
    }

    fn digit(&mut self, looking_for: &str) -> Step<u8> {
        match self.next()? {
            digit @ b'0'..=b'9' => Ok(digit),
            other => Err(unexpected(other, looking_for)),
        }
    }

    fn digits(&mut self) {
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn peek_after_space(&mut self) -> Option<u8> {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
        self.peek()
    }

    fn next(&mut self) -> Step<u8> {
        let byte = self.peek().ok_or_else(|| "unexpected EOF".to_owned())?;
        self.at += 1;
        Ok(byte)
    }

    fn next_after_space(&mut self) -> Step<u8> {
        self.peek_after_space();
        self.next()
    }
}

fn unexpected(byte: u8, context: &str) -> String {
    format!("invalid character {} {context}", quoted(byte))
}

/// Go's `quoteChar`: a byte in single quotes, escaped as Go does.
fn quoted(byte: u8) -> String {
    match byte {
        b'\'' => "'\\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        b'\\' => "'\\\\'".to_owned(),
        b'\n' => "'\\n'".to_owned(),
        b'\r' => "'\\r'".to_owned(),
        b'\t' => "'\\t'".to_owned(),
        b' '..=b'~' => format!("'{}'", char::from(byte)),
        0..=0x1f | 0x7f => format!("'\\x{byte:02x}'"),
        // Go takes the byte for a code point.
        _ => format!("'{}'", char::from(byte)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(text: &str) -> String {
        match mistake(text.as_bytes()) {
            Some(Mistake::Syntax(words)) => words,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn the_words_are_those_of_gos_scanner() {
        for (text, expected) in [
            // As dockerd 26 answered it.
            (
                "{bad",
                "invalid character 'b' looking for beginning of object key string",
            ),
            ("", "got EOF while reading request body"),
            ("  \n", "got EOF while reading request body"),
            ("{", "unexpected EOF"),
            ("{\"a\":", "unexpected EOF"),
            (
                "bad",
                "invalid character 'b' looking for beginning of value",
            ),
            (
                "[1,]",
                "invalid character ']' looking for beginning of value",
            ),
            ("[1 2]", "invalid character '2' after array element"),
            (
                "{\"a\":1,}",
                "invalid character '}' looking for beginning of object key string",
            ),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            (
                "{\"a\":1 \"b\"}",
                "invalid character '\"' after object key:value pair",
            ),
            (
                "nul!",
                "invalid character '!' in literal null (expecting 'l')",
            ),
            ("-x", "invalid character 'x' in numeric literal"),
            (
                "1.x",
                "invalid character 'x' after decimal point in numeric literal",
            ),
            (
                "1e+x",
                "invalid character 'x' in exponent of numeric literal",
            ),
            ("\"a\nb\"", "invalid character '\\n' in string literal"),
            ("\"\\x\"", "invalid character 'x' in string escape code"),
            (
                "\"\\u12g4\"",
                "invalid character 'g' in \\u hexadecimal character escape",
            ),
            (
                "'a'",
                "invalid character '\\'' looking for beginning of value",
            ),
        ] {
            assert_eq!(words(text), expected, "{text:?}");
        }
        assert_eq!(mistake(b"{} {}"), Some(Mistake::Trailing));
        assert_eq!(
            mistake(b" {\"a\":[1,{},[],\"\\u00e4\",-0.5e3,null]} "),
            None
        );
    }

    proptest! {
        #[test]
        fn what_serde_refuses_has_a_mistake_and_what_it_takes_has_none(
            text in "[\\[\\]{}\",:0-9truefalsn.eE+ \\\\-]{0,24}"
        ) {
            let valid = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            prop_assert_eq!(mistake(text.as_bytes()).is_none(), valid);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = mistake(&bytes);
        }
    }
}

//! JSON (RFC 8259).

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::ops::Index;

/// A JSON value. Objects keep the order of their members.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// `null`, and what is absent.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number without a fraction that fits.
    Integer(i64),
    /// Any other number.
    Number(f64),
    /// A text.
    Text(String),
    /// A list.
    Array(Vec<Value>),
    /// Members, in their order.
    Object(Vec<(String, Value)>),
}

static NULL: Value = Value::Null;
const DEEPEST: usize = 128;

impl Value {
    /// An object with these members.
    pub fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
        Value::Object(members.into_iter().map(|(name, value)| (name.to_string(), value)).collect())
    }

    /// The member of an object.
    pub fn get(&self, name: &str) -> Option<&Value> {
        match self {
            // The last of two of one name, as most parsers have it.
            Value::Object(members) => members.iter().rev().find(|(each, _)| each == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        if let Value::Text(text) = self { Some(text) } else { None }
    }

    /// The number, if it is a whole one.
    pub fn integer(&self) -> Option<i64> {
        if let Value::Integer(value) = self { Some(*value) } else { None }
    }

    /// The number, if it is one.
    pub fn number(&self) -> Option<f64> {
        match self {
            Value::Integer(value) => Some(*value as f64),
            Value::Number(value) => Some(*value),
            _ => None,
        }
    }

    /// Whether it is true, if it is one of the two.
    pub fn boolean(&self) -> Option<bool> {
        if let Value::Bool(value) = self { Some(*value) } else { None }
    }

    /// The elements of a list; none of anything else.
    pub fn elements(&self) -> &[Value] {
        if let Value::Array(elements) = self { elements } else { &[] }
    }

    /// Reads one value; what is wrong, and at which byte, otherwise.
    pub fn parse(bytes: &[u8]) -> Result<Value, ParseError> {
        let text = core::str::from_utf8(bytes).map_err(|error| ParseError { at: error.valid_up_to(), what: "it is not UTF-8" })?;
        let mut parser = Parser { text, at: 0 };
        parser.blanks();
        let value = parser.value(0)?;
        parser.blanks();
        if parser.at < text.len() { Err(parser.error("more follows the value")) } else { Ok(value) }
    }
}

/// `value["name"]`: null where there is no such member.
impl Index<&str> for Value {
    type Output = Value;
    fn index(&self, name: &str) -> &Value {
        self.get(name).unwrap_or(&NULL)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}
impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Value::Integer(value)
    }
}
impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Value::Number(value)
    }
}
impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Value::Text(value.into())
    }
}
impl From<String> for Value {
    fn from(value: String) -> Self {
        Value::Text(value)
    }
}
impl From<Vec<Value>> for Value {
    fn from(value: Vec<Value>) -> Self {
        Value::Array(value)
    }
}

/// Where a text stops being JSON.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ParseError {
    /// The byte.
    pub at: usize,
    /// What is wrong there.
    pub what: &'static str,
}

impl fmt::Display for ParseError {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        write!(out, "byte {}: {}", self.at, self.what)
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn error(&self, what: &'static str) -> ParseError {
        ParseError { at: self.at, what }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8, what: &'static str) -> Result<(), ParseError> {
        if self.peek() != Some(byte) {
            return Err(self.error(what));
        }
        self.at += 1;
        Ok(())
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, ParseError> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.error("a value is needed"));
        }
        self.at += word.len();
        Ok(value)
    }

    fn value(&mut self, depth: usize) -> Result<Value, ParseError> {
        if depth > DEEPEST {
            return Err(self.error("it is nested too deeply"));
        }
        match self.peek() {
            Some(b'"') => self.string().map(Value::Text),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            Some(b'[') => {
                let mut elements = Vec::new();
                self.list(b']', |parser| Ok(elements.push(parser.value(depth + 1)?)))?;
                Ok(Value::Array(elements))
            }
            Some(b'{') => {
                let mut members = Vec::new();
                self.list(b'}', |parser| {
                    let name = parser.string()?;
                    parser.blanks();
                    parser.take(b':', "a ':' is needed")?;
                    parser.blanks();
                    members.push((name, parser.value(depth + 1)?));
                    Ok(())
                })?;
                Ok(Value::Object(members))
            }
            _ => self.number(),
        }
    }

    fn list(
        &mut self, last: u8, mut element: impl FnMut(&mut Self) -> Result<(), ParseError>,
    ) -> Result<(), ParseError> {
        self.at += 1;
        self.blanks();
        if self.peek() == Some(last) {
            self.at += 1;
            return Ok(());
        }
        loop {
            element(self)?;
            self.blanks();
            if self.peek() == Some(last) {
                self.at += 1;
                return Ok(());
            }
            self.take(b',', "a ',' or the end of the list is needed")?;
            self.blanks();
        }
    }

    fn digits(&mut self) -> Result<(), ParseError> {
        if !matches!(self.peek(), Some(b'0'..=b'9')) {
            return Err(self.error("a value is needed"));
        }
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<Value, ParseError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') { self.at += 1 } else { self.digits()? }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        let text = &self.text[start..self.at];
        if let Ok(value) = text.parse::<i64>() {
            return Ok(Value::Integer(value));
        }
        match text.parse::<f64>() {
            // 3.0 and 3e2 are whole, too.
            Ok(value) if value.is_finite() && value % 1.0 == 0.0 && value.abs() < 9e15 => Ok(Value::Integer(value as i64)),
            Ok(value) if value.is_finite() => Ok(Value::Number(value)),
            _ => Err(ParseError { at: start, what: "the number is too large" }),
        }
    }

    fn hex(&mut self) -> Result<u32, ParseError> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4).ok_or(self.error("four hexadecimal digits are needed"))?;
        let mut value = 0;
        for digit in digits {
            value = value * 16 + (*digit as char).to_digit(16).ok_or(self.error("four hexadecimal digits are needed"))?;
        }
        self.at += 4;
        Ok(value)
    }

    fn string(&mut self) -> Result<String, ParseError> {
        self.take(b'"', "a text is needed")?;
        let mut result = String::new();
        loop {
            let start = self.at;
            while !matches!(self.peek(), None | Some(b'"' | b'\\' | 0..=0x1F)) {
                self.at += 1;
            }
            result.push_str(&self.text[start..self.at]);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(result);
                }
                Some(b'\\') => self.at += 1,
                _ => return Err(self.error("a text does not end, or has a control character")),
            }
            let escape = self.peek();
            self.at += 1;
            result.push(match escape {
                Some(b'b') => '\u{8}',
                Some(b'f') => '\u{c}',
                Some(b'n') => '\n',
                Some(b'r') => '\r',
                Some(b't') => '\t',
                Some(byte @ (b'"' | b'\\' | b'/')) => byte as char,
                Some(b'u') => {
                    let mut code = self.hex()?;
                    if (0xD800..0xDC00).contains(&code) && self.text[self.at..].starts_with("\\u") {
                        let before = self.at;
                        self.at += 2;
                        let low = self.hex()?;
                        if (0xDC00..0xE000).contains(&low) {
                            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
                        } else {
                            self.at = before;
                        }
                    }
                    char::from_u32(code).unwrap_or('\u{FFFD}')
                }
                _ => {
                    self.at -= 1;
                    return Err(self.error("no such escape"));
                }
            });
        }
    }
}

/// As JSON, on one line. A number that is not finite is `null`, because JSON has no word for it.
impl fmt::Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Value::Null => out.write_str("null"),
            Value::Bool(value) => write!(out, "{value}"),
            Value::Integer(value) => write!(out, "{value}"),
            Value::Number(value) if value.is_finite() => write!(out, "{value:?}"),
            Value::Number(_) => out.write_str("null"),
            Value::Text(text) => write_text(text, out),
            Value::Array(elements) => {
                out.write_char('[')?;
                for (place, element) in elements.iter().enumerate() {
                    write!(out, "{}{element}", if place > 0 { "," } else { "" })?;
                }
                out.write_char(']')
            }
            Value::Object(members) => {
                out.write_char('{')?;
                for (place, (name, value)) in members.iter().enumerate() {
                    out.write_str(if place > 0 { "," } else { "" })?;
                    write_text(name, out)?;
                    write!(out, ":{value}")?;
                }
                out.write_char('}')
            }
        }
    }
}

fn write_text(text: &str, out: &mut fmt::Formatter) -> fmt::Result {
    out.write_char('"')?;
    for character in text.chars() {
        match character {
            '"' | '\\' => write!(out, "\\{character}")?,
            '\n' => out.write_str("\\n")?,
            '\0'..='\u{1F}' => write!(out, "\\u{:04x}", character as u32)?,
            _ => out.write_char(character)?,
        }
    }
    out.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn what_is_written_is_read_again() {
        for text in [
            "null", "true", "[]", "{}", "-12", "1.5", "\"a\\\"\\\\\\n\\u0001\"", "[1,[2,{\"a\":null}]]", "{\"a\":1,\"b\":[true]}",
            "9223372036854775807", "\"Grüße 🦀\"",
        ] {
            assert_eq!(Value::parse(text.as_bytes()).map(|value| value.to_string()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn escapes_become_characters() {
        assert_eq!(Value::parse(br#""\ud83e\udd80 \u00fc \ud800 \/""#), Ok("🦀 ü \u{FFFD} /".into()));
    }

    #[test]
    fn a_whole_number_is_one_however_it_is_written() {
        assert_eq!(Value::parse(b"3e2"), Ok(Value::Integer(300)));
        assert_eq!(Value::parse(b"3.0"), Ok(Value::Integer(3)));
        assert_eq!(Value::parse(b"1e300").map(|value| value.number()), Ok(Some(1e300)));
    }

    #[test]
    fn what_is_no_json_is_refused_wherever_it_ends() {
        let whole = r#"{"a":[1,-2.5e3,"t\u00fc\n",true,null]}"#;
        for end in 0..whole.len() {
            if whole.is_char_boundary(end) {
                assert!(Value::parse(&whole.as_bytes()[..end]).is_err(), "{}", &whole[..end]);
            }
        }
        for text in ["01", "+1", ".5", "1.", "[1,]", "{\"a\"}", "'a'", "nul", "\"\t\"", "\"\\x\"", "1 2", "1e999", "\"\\ud8\""] {
            assert!(Value::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(Value::parse(format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)).as_bytes()).is_err());
        assert!(Value::parse(&[b'"', 0xFF, b'"']).is_err());
    }
}

//! The words of a dump: names, texts, numbers, marks. Comments are passed over, but what stands in `/*!…*/` is not.

use std::io::{self, BufRead};

use super::bytes::Bytes;

/// Longest value that is kept, bytes; what is longer is cut there. A prompt has at most 64 KB (`TEXT`).
const LONGEST: usize = 1 << 20;
/// No server has this version: what stands behind it is meant for nobody.
const NEVER: &[u8] = b"999999";

/// One word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// The end of the file.
    End,
    Semicolon,
    Comma,
    Open,
    Close,
    /// A bare word or number.
    Word(String),
    /// `` `…` ``
    Name(String),
    /// `'…'` or `"…"`.
    Text(String),
    /// Anything else.
    Mark(u8),
}

impl Token {
    /// It is this keyword, in whatever case.
    pub fn is(&self, word: &str) -> bool {
        matches!(self, Self::Word(own) if own.eq_ignore_ascii_case(word))
    }

    /// It names a table or a column. Texts in double quotes do so in ANSI mode.
    pub fn name(self) -> Option<String> {
        match self {
            Self::Word(text) | Self::Name(text) | Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// It is a value; none for NULL and for what is none.
    pub fn value(self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text),
            Self::Word(word) if word.eq_ignore_ascii_case("null") || word.starts_with('_') => None,
            Self::Word(word) => Some(hex(&word).unwrap_or(word)),
            _ => None,
        }
    }
}

/// `0x48656c6c6f`, as mysqldump writes with --hex-blob.
fn hex(word: &str) -> Option<String> {
    let digits = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X"))?;
    unhex(digits.as_bytes())
}

fn unhex(digits: &[u8]) -> Option<String> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    });
    let bytes: Option<Vec<u8>> = pairs.collect();
    bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Words of a reader.
pub(super) struct Lexer<R> {
    bytes: Bytes<R>,
    /// Inside of `/*!…*/`, where `*/` is nothing.
    conditional: bool,
}

impl<R: BufRead> Lexer<R> {
    pub fn new(input: R) -> Self {
        Self { bytes: Bytes::new(input), conditional: false }
    }

    /// The line that is read, from 1.
    pub fn line(&self) -> usize {
        self.bytes.line()
    }

    /// The next word.
    pub fn next(&mut self) -> io::Result<Token> {
        self.token(true)
    }

    /// The next word, its text not kept: for what nobody looks at.
    pub fn skip(&mut self) -> io::Result<Token> {
        self.token(false)
    }

    fn token(&mut self, keep: bool) -> io::Result<Token> {
        loop {
            let Some(byte) = self.bytes.next()? else { return Ok(Token::End) };
            match byte {
                b';' => return Ok(Token::Semicolon),
                b',' => return Ok(Token::Comma),
                b'(' => return Ok(Token::Open),
                b')' => return Ok(Token::Close),
                b'\'' | b'"' => return self.quoted(byte, keep).map(Token::Text),
                b'`' => return self.quoted(byte, keep).map(Token::Name),
                b'#' => self.line_comment()?,
                b'-' if self.bytes.peek()? == Some(b'-') => self.line_comment()?,
                b'/' if self.bytes.peek()? == Some(b'*') => self.block_comment()?,
                b'*' if self.conditional && self.bytes.take(b'/')? => self.conditional = false,
                byte if is_word(byte) || byte == b'-' || byte == b'+' => {
                    let word = self.word(byte, keep)?;
                    // a byte order mark alone is nothing
                    if word != Token::Word(String::new()) {
                        return Ok(word);
                    }
                }
                byte if byte.is_ascii_whitespace() || byte == 0 => {}
                byte => return Ok(Token::Mark(byte)),
            }
        }
    }

    fn line_comment(&mut self) -> io::Result<()> {
        while !matches!(self.bytes.next()?, None | Some(b'\n')) {}
        Ok(())
    }

    /// `/* … */` is passed over; of `/*!40101 … */` only its head.
    fn block_comment(&mut self) -> io::Result<()> {
        self.bytes.next()?;
        // MariaDB writes /*M!…*/ too
        self.bytes.take(b'M')?;
        if self.bytes.take(b'!')? {
            let mut version = Vec::with_capacity(NEVER.len());
            while let Some(byte) = self.bytes.peek()?.filter(u8::is_ascii_digit) {
                self.bytes.next()?;
                if version.len() <= NEVER.len() {
                    version.push(byte);
                }
            }
            if version != NEVER {
                self.conditional = true;
                return Ok(());
            }
        }
        let mut star = false;
        while let Some(byte) = self.bytes.next()? {
            if star && byte == b'/' {
                return Ok(());
            }
            star = byte == b'*';
        }
        Ok(())
    }

    fn word(&mut self, first: u8, keep: bool) -> io::Result<Token> {
        let mut word = vec![first];
        let mut number = matches!(first, b'0'..=b'9' | b'-' | b'+');
        while let Some(byte) = self.bytes.peek()? {
            // `schema.table`: the dot parts names, but belongs to numbers
            if !(is_word(byte) || (byte == b'.' && number)) {
                break;
            }
            number &= byte.is_ascii_digit() || byte == b'.';
            self.bytes.next()?;
            if keep && word.len() < LONGEST {
                word.push(byte);
            }
        }
        // x'48656c6c6f', N'text', b'1'
        if let ([kind], Some(b'\'')) = (&*word, self.bytes.peek()?)
            && b"xXnNbB".contains(kind)
        {
            let hex = kind.eq_ignore_ascii_case(&b'x');
            self.bytes.next()?;
            let text = self.quoted(b'\'', keep)?;
            return Ok(Token::Text(if hex { unhex(text.as_bytes()).unwrap_or(text) } else { text }));
        }
        let word = String::from_utf8_lossy(&word);
        Ok(Token::Word(word.trim_start_matches('\u{feff}').to_owned()))
    }

    /// Up to the closing mark: doubled it is itself, and in texts a backslash escapes. A file that ends before gives
    /// what there was.
    fn quoted(&mut self, mark: u8, keep: bool) -> io::Result<String> {
        let mut text = Vec::new();
        while let Some(byte) = self.bytes.next()? {
            let byte = match byte {
                b'\\' if mark != b'`' => match self.bytes.next()? {
                    // LIKE's: they keep the backslash
                    Some(byte @ (b'%' | b'_')) if keep => {
                        text.push(b'\\');
                        byte
                    }
                    Some(byte) => escaped(byte),
                    None => break,
                },
                byte if byte == mark => {
                    if !self.bytes.take(mark)? {
                        break;
                    }
                    byte
                }
                byte => byte,
            };
            if keep && text.len() < LONGEST {
                text.push(byte);
            }
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// What a backslash and this byte stand for.
fn escaped(byte: u8) -> u8 {
    match byte {
        b'0' => 0,
        b'b' => 8,
        b't' => b'\t',
        b'n' => b'\n',
        b'r' => b'\r',
        b'Z' => 26,
        byte => byte,
    }
}

/// Bytes of names and numbers; all beyond ASCII are letters.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'@') || byte >= 0x80
}

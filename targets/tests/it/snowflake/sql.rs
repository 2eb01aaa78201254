//! Statements, read token by token: what left its quotes would be seen as what it became.

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// In upper case.
    Word(String),
    /// `"…"`, without its quotes.
    Name(String),
    /// `'…'`, without its quotes.
    Text(String),
    /// `$$…$$`.
    Body(String),
    Number(u64),
    Sign(char),
}

use Token::{Name, Number, Sign, Text, Word};

pub(crate) fn tokens(sql: &str) -> Result<Vec<Token>, String> {
    let chars: Vec<char> = sql.chars().collect();
    let (mut out, mut at) = (Vec::new(), 0);
    while at < chars.len() {
        let c = chars[at];
        let rest = || chars[at..].iter().collect::<String>();
        if c.is_whitespace() {
            at += 1;
        } else if c == '"' {
            let (name, next) = quoted(&chars, at, '"')?;
            out.push(Name(name));
            at = next;
        } else if c == '\'' {
            let (text, next) = quoted(&chars, at, '\'')?;
            out.push(Text(text));
            at = next;
        } else if rest().starts_with("$$") {
            let inside = rest()[2..].to_owned();
            let end = inside.find("$$").ok_or("an open $$")?;
            at += 4 + inside[..end].chars().count();
            out.push(Token::Body(inside[..end].to_owned()));
        } else if c.is_ascii_alphabetic() || c == '_' {
            let word: String = chars[at..].iter().take_while(|c| c.is_ascii_alphanumeric() || **c == '_').collect();
            at += word.len();
            out.push(Word(word.to_uppercase()));
        } else if c.is_ascii_digit() {
            let number: String = chars[at..].iter().take_while(|c| c.is_ascii_digit()).collect();
            at += number.len();
            out.push(Number(number.parse().unwrap()));
        } else if rest().starts_with("--") || rest().starts_with("/*") || c == ';' {
            return Err(format!("unexpected '{c}'"));
        } else {
            out.push(Sign(c));
            at += 1;
        }
    }
    Ok(out)
}

fn quoted(chars: &[char], from: usize, quote: char) -> Result<(String, usize), String> {
    let (mut out, mut at) = (String::new(), from + 1);
    loop {
        match (chars.get(at), chars.get(at + 1)) {
            (None, _) => return Err(format!("an open {quote}")),
            (Some(c), Some(next)) if *c == quote && *next == quote => {
                out.push(quote);
                at += 2;
            }
            (Some(c), _) if *c == quote => return Ok((out, at + 1)),
            (Some('\\'), Some('u')) if quote == '\'' => {
                let hex: String = chars[at + 2..at + 6].iter().collect();
                out.push(char::from_u32(u32::from_str_radix(&hex, 16).unwrap()).unwrap());
                at += 6;
            }
            (Some('\\'), Some(next)) if quote == '\'' => {
                out.push(*next);
                at += 2;
            }
            (Some(c), _) => {
                out.push(*c);
                at += 1;
            }
        }
    }
}

/// Reads tokens from the front.
pub(crate) struct Reader(pub(crate) std::collections::VecDeque<Token>);

impl Reader {
    pub(crate) fn of(sql: &str) -> Result<Self, String> {
        Ok(Self(tokens(sql)?.into()))
    }

    /// Whether these words come next; they are taken then.
    pub(crate) fn words(&mut self, words: &str) -> bool {
        let wanted: Vec<Token> = words.split(' ').map(|word| Word(word.to_owned())).collect();
        let comes = self.0.len() >= wanted.len() && self.0.iter().zip(&wanted).all(|(a, b)| a == b);
        if comes {
            self.0.drain(..wanted.len());
        }
        comes
    }

    pub(crate) fn sign(&mut self, sign: char) -> bool {
        let comes = self.0.front() == Some(&Sign(sign));
        if comes {
            self.0.pop_front();
        }
        comes
    }

    pub(crate) fn need_sign(&mut self, sign: char) -> Result<(), String> {
        if self.sign(sign) { Ok(()) } else { Err(self.wrong(&format!("'{sign}'"))) }
    }

    pub(crate) fn need(&mut self, words: &str) -> Result<(), String> {
        if self.words(words) { Ok(()) } else { Err(self.wrong(words)) }
    }

    pub(crate) fn wrong(&self, wanted: &str) -> String {
        format!("syntax error: {wanted} is wanted, not {:?}", self.0.front())
    }

    pub(crate) fn word(&mut self) -> Result<String, String> {
        match self.0.pop_front() {
            Some(Word(word)) => Ok(word),
            other => Err(format!("syntax error: a word is wanted, not {other:?}")),
        }
    }

    pub(crate) fn name(&mut self) -> Result<String, String> {
        match self.0.pop_front() {
            Some(Name(name)) => Ok(name),
            other => Err(format!("syntax error: a name is wanted, not {other:?}")),
        }
    }

    pub(crate) fn text(&mut self) -> Result<String, String> {
        match self.0.pop_front() {
            Some(Text(text)) => Ok(text),
            other => Err(format!("syntax error: a text is wanted, not {other:?}")),
        }
    }

    /// `$$…$$`, or a literal in its place.
    pub(crate) fn body(&mut self) -> Result<String, String> {
        match self.0.pop_front() {
            Some(Token::Body(body) | Text(body)) => Ok(body),
            other => Err(format!("syntax error: $$ is wanted, not {other:?}")),
        }
    }

    pub(crate) fn number(&mut self) -> Result<u64, String> {
        match self.0.pop_front() {
            Some(Number(number)) => Ok(number),
            other => Err(format!("syntax error: a number is wanted, not {other:?}")),
        }
    }

    /// `"A"."B"."C"`.
    pub(crate) fn path(&mut self, parts: usize) -> Result<Vec<String>, String> {
        let mut all = vec![self.name()?];
        while all.len() < parts {
            self.need_sign('.')?;
            all.push(self.name()?);
        }
        Ok(all)
    }

    /// `NUMBER(10, 2)`; answers its word.
    pub(crate) fn kind(&mut self) -> Result<String, String> {
        let word = self.word()?;
        if self.sign('(') {
            self.number()?;
            while self.sign(',') {
                self.number()?;
            }
            self.need_sign(')')?;
        }
        const KNOWN: [&str; 12] = [
            "NUMBER",
            "FLOAT",
            "VARCHAR",
            "BOOLEAN",
            "DATE",
            "TIME",
            "TIMESTAMP_LTZ",
            "TIMESTAMP_NTZ",
            "TIMESTAMP_TZ",
            "VARIANT",
            "OBJECT",
            "ARRAY",
        ];
        if KNOWN.contains(&word.as_str()) { Ok(word) } else { Err(format!("unsupported data type '{word}'")) }
    }

    /// `(NUMBER, VARCHAR)`.
    pub(crate) fn kinds(&mut self) -> Result<String, String> {
        self.need_sign('(')?;
        let mut all = Vec::new();
        while !self.sign(')') {
            if !all.is_empty() {
                self.need_sign(',')?;
            }
            all.push(self.kind()?);
        }
        Ok(all.join(", "))
    }

    pub(crate) fn end(&self) -> Result<(), String> {
        if self.0.is_empty() { Ok(()) } else { Err(self.wrong("the end")) }
    }
}

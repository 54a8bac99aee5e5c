//! From text to tokens.

use super::error::{QueryError, Wrong};

/// A character of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Char {
    pub(super) c: char,
    /// Which one of the text it is, from 1.
    pub(super) at: usize,
    /// Whether it stands for itself only, because it is in quotes.
    pub(super) quoted: bool,
}

impl Char {
    /// Whether it is this one, and means what it does outside quotes.
    pub(super) fn is(self, c: char) -> bool {
        self.c == c && !self.quoted
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Not,
    Open,
    Close,
    /// Never empty, but its text is where there are only quotes.
    Word(Vec<Char>),
}

/// A token, as it was written, and where.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) token: Token,
    pub(super) at: usize,
}

/// What is in the characters.
pub(super) fn text(word: &[Char]) -> String {
    word.iter().map(|char| char.c).collect()
}

/// Takes a query apart.
pub(super) fn words(query: &str) -> Result<Vec<Placed>, QueryError> {
    let chars: Vec<char> = query.chars().collect();
    let mut tokens = Vec::new();
    let mut next = 0;
    while let Some(&c) = chars.get(next) {
        let at = next + 1;
        let token = match c {
            c if c.is_whitespace() => {
                next += 1;
                continue;
            }
            '-' | '!' => Token::Not,
            '(' => Token::Open,
            ')' => Token::Close,
            _ => {
                let (word, end) = word(&chars, next)?;
                tokens.push(Placed {
                    token: Token::Word(word),
                    at,
                });
                next = end;
                continue;
            }
        };
        next += 1;
        tokens.push(Placed { token, at });
    }
    Ok(tokens)
}

/// The word that begins at an index, and the index behind it.
fn word(chars: &[char], mut next: usize) -> Result<(Vec<Char>, usize), QueryError> {
    let mut word = Vec::new();
    let mut opened = None;
    while let Some(&c) = chars.get(next) {
        let at = next + 1;
        let quoted = opened.is_some();
        match c {
            '"' => opened = if quoted { None } else { Some(at) },
            '\\' if quoted => {
                next += 1;
                // Without a character behind it, the quotes are not closed either.
                word.extend(chars.get(next).map(|&c| Char { c, at, quoted }));
            }
            c if !quoted && (c.is_whitespace() || matches!(c, '(' | ')')) => break,
            c => word.push(Char { c, at, quoted }),
        }
        next += 1;
    }
    match opened {
        Some(at) => Err(QueryError {
            at,
            word: "\"".to_owned(),
            wrong: Wrong::Open,
        }),
        None => Ok((word, next)),
    }
}

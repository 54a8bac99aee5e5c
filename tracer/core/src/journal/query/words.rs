//! Splits text into tokens.

use super::error::{QueryError, Wrong};

/// A character of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Char {
    pub(super) c: char,
    /// Position in the text, from 1.
    pub(super) at: usize,
    /// Whether the character is in quotes, so that it has no special meaning.
    pub(super) quoted: bool,
}

impl Char {
    /// Whether this is the character `c`, outside of quotes.
    pub(super) fn is(self, c: char) -> bool {
        self.c == c && !self.quoted
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Not,
    Open,
    Close,
    /// A word. Its list is never empty, but its text is empty if there are only quotes.
    Word(Vec<Char>),
}

/// A token, its source text and its position.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) token: Token,
    pub(super) at: usize,
}

/// Text of the characters.
pub(super) fn text(word: &[Char]) -> String {
    word.iter().map(|char| char.c).collect()
}

/// Splits a query into tokens.
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

/// Reads the word that begins at an index. Returns the word and the index after it.
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
                // A backslash at the end leaves the quotes open.
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

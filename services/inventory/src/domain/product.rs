//! The name under which stock is kept.

use std::fmt;

/// The longest name that is accepted, in characters.
pub const MAX_PRODUCT_CHARS: usize = 128;

/// A product's name (its stock keeping unit): 1 to [`MAX_PRODUCT_CHARS`] characters, no control
/// characters, no white space at either end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Product(String);

/// Why a text is not a product's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProduct {
    #[error("a product must not be empty")]
    Empty,
    #[error("a product has at most {MAX_PRODUCT_CHARS} characters, this one has {0}")]
    TooLong(usize),
    #[error("a product must not contain control characters")]
    ControlCharacter,
    #[error("a product must not begin or end with white space")]
    WhiteSpace,
}

impl Product {
    /// Accepts a text as a product's name.
    pub fn parse(text: impl Into<String>) -> Result<Self, InvalidProduct> {
        let text = text.into();
        if text.is_empty() {
            return Err(InvalidProduct::Empty);
        }
        let chars = text.chars().count();
        if chars > MAX_PRODUCT_CHARS {
            return Err(InvalidProduct::TooLong(chars));
        }
        // PostgreSQL cannot store NUL in a text, and no other control character belongs in a name.
        if text.chars().any(char::is_control) {
            return Err(InvalidProduct::ControlCharacter);
        }
        if text.trim().len() != text.len() {
            return Err(InvalidProduct::WhiteSpace);
        }
        Ok(Self(text))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as an owned text.
    pub fn into_string(self) -> String {
        self.0
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert_eq!(
            Product::parse("tea-green-100").unwrap().as_str(),
            "tea-green-100"
        );
        assert_eq!(Product::parse(""), Err(InvalidProduct::Empty));
        assert_eq!(Product::parse(" tea"), Err(InvalidProduct::WhiteSpace));
        assert_eq!(
            Product::parse("tea\0"),
            Err(InvalidProduct::ControlCharacter)
        );
        assert_eq!(Product::parse("ü".repeat(128)).unwrap().as_str().len(), 256);
        assert_eq!(
            Product::parse("x".repeat(129)),
            Err(InvalidProduct::TooLong(129))
        );
    }
}

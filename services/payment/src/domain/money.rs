//! Amounts and currencies.

use std::fmt;

/// An amount in the currency's minor unit (cents for EUR), greater than zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amount(i64);

impl Amount {
    pub fn new(minor: i64) -> Option<Self> {
        (minor > 0).then_some(Self(minor))
    }

    pub fn minor(self) -> i64 {
        self.0
    }
}

/// An ISO 4217 code: three capital letters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Currency(String);

impl Currency {
    pub fn new(code: &str) -> Option<Self> {
        let well_formed = code.len() == 3 && code.bytes().all(|b| b.is_ascii_uppercase());
        well_formed.then(|| Self(code.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The provider's token for a means of payment: visible ASCII, at most 255 characters. Not shown in logs: whoever has it
/// can charge the customer.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    pub fn new(token: &str) -> Option<Self> {
        let well_formed =
            (1..=255).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic());
        well_formed.then(|| Self(token.to_owned()))
    }

    /// The secret itself, for the provider and for the database.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_does_not_show_itself() {
        let token = Token::new("tok_secret").unwrap();
        assert!(!format!("{token:?}").contains("secret"));
        assert!(
            Token::new("").is_none()
                && Token::new("a b").is_none()
                && Token::new("tok\0").is_none()
        );
    }

    #[test]
    fn money_is_checked() {
        assert!(Amount::new(0).is_none() && Amount::new(-1).is_none() && Amount::new(1).is_some());
        assert!(Currency::new("EUR").is_some());
        assert!(
            ["eur", "EURO", "", "E1R"]
                .iter()
                .all(|code| Currency::new(code).is_none())
        );
    }
}

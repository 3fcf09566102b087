//! A header's name. Those that the kit itself writes occur in every record and take no memory of their own.

use super::names;

/// The names that nearly every record has.
const USUAL: [&str; 13] = [
    names::ID,
    names::CE_ID,
    names::CE_SPECVERSION,
    names::CE_TYPE,
    names::CE_SOURCE,
    names::CE_SUBJECT,
    names::CE_TIME,
    names::CONTENT_TYPE,
    names::TRACEPARENT,
    names::CORRELATION_ID,
    names::CAUSATION_ID,
    names::SEQUENCE,
    names::NOT_BEFORE,
];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Name {
    Usual(&'static str),
    Other(Box<str>),
}

impl Name {
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Usual(name) => name,
            Self::Other(name) => name,
        }
    }

    fn usual(name: &str) -> Option<Self> {
        let usual = USUAL.iter().find(|usual| **usual == name);
        usual.map(|usual| Self::Usual(usual))
    }
}

impl From<&str> for Name {
    fn from(name: &str) -> Self {
        Self::usual(name).unwrap_or_else(|| Self::Other(name.into()))
    }
}

impl From<String> for Name {
    fn from(name: String) -> Self {
        Self::usual(&name).unwrap_or_else(|| Self::Other(name.into_boxed_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_same_however_it_came() {
        for text in ["ce_id", "mine"] {
            assert_eq!(Name::from(text), Name::from(text.to_owned()));
            assert_eq!(Name::from(text).as_str(), text);
        }
        assert!(matches!(Name::from("id"), Name::Usual(_)));
        assert!(matches!(Name::from("mine"), Name::Other(_)));
    }
}

//! A customer's address, which must not end up in a log line.

use std::fmt;

/// An email address as the order stated it. `Display` and `Debug` mask it, so that a log line or an error that
/// names it gives nobody away; [`Recipient::expose`] is for the mail server and the customer's own record.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Recipient(String);

impl Recipient {
    /// The longest address there can be: 64 for the person, 255 for the domain (RFC 5321, section 4.5.3.1).
    pub const MAX: usize = 320;

    /// The address, or nothing when there is none, or when it cannot be one and could not even be stored.
    #[must_use]
    pub fn new(address: Option<&str>) -> Option<Self> {
        let address = address.map(str::trim)?;
        let possible = (1..=Self::MAX).contains(&address.chars().count())
            && !address.chars().any(char::is_control);
        possible.then(|| Self(address.to_owned()))
    }

    /// The whole address.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// `text` without the address, which mail servers like to repeat in their answers.
    #[must_use]
    pub fn hide_in(&self, text: &str) -> String {
        text.replace(&self.0, &self.to_string())
    }
}

impl fmt::Display for Recipient {
    /// `a***@example.com`: enough to recognise one's own, too little to write to.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.rsplit_once('@') {
            Some((local, domain)) => {
                let first: String = local.chars().take(1).collect();
                write!(f, "{first}***@{domain}")
            }
            None => f.write_str("***"),
        }
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recipient({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_masked_wherever_it_is_printed() {
        for (address, masked) in [
            ("ada@example.com", "a***@example.com"),
            ("é@example.com", "é***@example.com"),
            ("\"a@b\"@example.com", "\"***@example.com"),
            ("no address", "***"),
        ] {
            let recipient = Recipient::new(Some(address)).unwrap();
            assert_eq!(recipient.to_string(), masked);
            assert_eq!(format!("{recipient:?}"), format!("Recipient({masked})"));
            assert!(!format!("{recipient:?}").contains(address));
            assert_eq!(recipient.expose(), address);
        }
    }

    #[test]
    fn an_answer_that_repeats_the_address_is_masked() {
        let ada = Recipient::new(Some("ada@example.com")).unwrap();
        assert_eq!(
            ada.hide_in("550 <ada@example.com>: unknown"),
            "550 <a***@example.com>: unknown"
        );
    }

    #[test]
    fn blank_and_impossible_are_no_address() {
        let long = "a".repeat(321);
        for nothing in [
            None,
            Some(""),
            Some("  "),
            Some("a\0@example.com"),
            Some(long.as_str()),
        ] {
            assert_eq!(Recipient::new(nothing), None);
        }
    }
}

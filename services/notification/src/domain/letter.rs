//! The texts: plain, short, and true at the moment at which they are written.

use uuid::Uuid;

use super::money::Money;
use super::notification::Template;

/// How an order ended, as far as its customer is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Stock has left and the money is taken.
    Confirmed {
        /// What was charged.
        total: Money,
    },
    /// The order will not be carried out.
    Cancelled {
        /// Stable code, such as `insufficient_stock`.
        code: String,
        /// For people to read.
        reason: String,
    },
}

/// A text, ready to go out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Which text it is.
    pub template: Template,
    /// One line.
    pub subject: String,
    /// Plain text, lines ended by `\n`.
    pub text: String,
}

impl Outcome {
    /// Which text tells of it.
    #[must_use]
    pub const fn template(&self) -> Template {
        match self {
            Self::Confirmed { .. } => Template::OrderConfirmed,
            Self::Cancelled { .. } => Template::OrderCancelled,
        }
    }

    /// What the customer reads.
    #[must_use]
    pub fn letter(&self, order: Uuid, customer: &str) -> Letter {
        let (word, body) = match self {
            Self::Confirmed { total } => (
                "confirmed",
                format!(
                    "Thank you for your order. It is confirmed and on its way to you.\n\
                     We have charged {total} to the payment method that you gave."
                ),
            ),
            Self::Cancelled { code, reason } => ("cancelled", cancelled(code, reason)),
        };
        Letter {
            template: self.template(),
            subject: format!("Your order {order} is {word}"),
            text: format!("Dear customer {customer},\n\n{body}\n\nOrder: {order}\n"),
        }
    }
}

fn cancelled(code: &str, reason: &str) -> String {
    let why = match code {
        "insufficient_stock" => "We are sorry: we do not have everything that you ordered.",
        "payment_declined" => "Your payment was declined, so we have cancelled your order.",
        "customer" => "As you asked, we have cancelled your order.",
        "timeout" => {
            "We are sorry: we could not process your order in time, and have cancelled it."
        }
        _ => "We are sorry: we had to cancel your order.",
    };
    // A reason is one line by contract; another service's slip must not let it pose as our own words.
    let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ");
    let reason = match reason.as_str() {
        "" => String::new(),
        reason => format!("\nReason: {reason}"),
    };
    // True whatever is still under way: an authorisation is voided, a captured payment refunded.
    format!(
        "{why}{reason}\n\nYou pay nothing for it; money that was set aside or taken is given back."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: Uuid = Uuid::from_u128(0x0198_c0de_7a11_7000_8000_5f0c_4b7e_9a21);

    fn cancelled(code: &str, reason: &str) -> Letter {
        let (code, reason) = (code.to_owned(), reason.to_owned());
        Outcome::Cancelled { code, reason }.letter(ORDER, "customer-1")
    }

    #[test]
    fn a_confirmation_names_the_order_and_the_amount() {
        let (minor, currency) = (1_250, "EUR".to_owned());
        let total = Money { minor, currency };
        let letter = Outcome::Confirmed { total }.letter(ORDER, "customer-1");
        assert_eq!(letter.template, Template::OrderConfirmed);
        assert_eq!(letter.subject, format!("Your order {ORDER} is confirmed"));
        assert_eq!(
            letter.text,
            format!(
                "Dear customer customer-1,\n\nThank you for your order. It is confirmed and on its way to you.\n\
                 We have charged 12.50 EUR to the payment method that you gave.\n\nOrder: {ORDER}\n"
            )
        );
    }

    #[test]
    fn a_cancellation_says_why_in_words_of_its_own_and_in_the_stated_ones() {
        let letter = cancelled("insufficient_stock", "insufficient stock for product mug");
        assert_eq!(letter.template, Template::OrderCancelled);
        assert_eq!(letter.subject, format!("Your order {ORDER} is cancelled"));
        assert!(
            letter.text.contains("we do not have everything"),
            "{}",
            letter.text
        );
        assert!(
            letter
                .text
                .contains("\nReason: insufficient stock for product mug\n"),
            "{}",
            letter.text
        );
        for code in [
            "payment_declined",
            "customer",
            "timeout",
            "a_code_of_next_year",
        ] {
            let other = cancelled(code, "x");
            assert_ne!(other.text, letter.text, "{code}");
            assert!(other.text.contains("You pay nothing"), "{code}");
        }
    }

    #[test]
    fn a_reason_stays_on_its_line_and_may_be_missing() {
        let letter = cancelled("customer", "no\r\n\r\nDear customer, please pay");
        assert!(
            letter
                .text
                .contains("\nReason: no Dear customer, please pay\n"),
            "{}",
            letter.text
        );
        assert!(!cancelled("customer", " ").text.contains("Reason"));
    }
}

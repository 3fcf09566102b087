//! A submitted order, checked: what is wrong with it is reported all at once, each error with a JSON
//! pointer to its place, so that nobody mends one field only to hear of the next.

mod email;
mod reader;

use std::collections::HashMap;

use serde_json::Value;

use super::{Currency, CustomerId, Money, ProductId, Quantity};
use reader::Reader;

/// The most lines that one order may have.
pub const LINES_MAX: usize = 100;
/// The longest payment token, in characters.
pub const TOKEN_MAX: usize = 255;

/// An order as its customer wants it, every rule kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// Who orders.
    pub customer: CustomerId,
    /// What, each product once; 1 to [`LINES_MAX`] lines.
    pub lines: Vec<Line>,
    /// The currency of every amount in it.
    pub currency: Currency,
    /// The sum of all lines, more than nothing.
    pub total: Money,
    /// Where the customer wants to be told.
    pub email: Option<String>,
    /// The provider's token for the means of payment. A secret.
    pub payment_token: PaymentToken,
}

/// The provider's token for a means of payment. Not shown by `Debug`, so that no log can hold it.
#[derive(Clone, PartialEq, Eq)]
pub struct PaymentToken(String);

impl PaymentToken {
    /// The token itself, for the command to the payment service.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for PaymentToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PaymentToken(***)")
    }
}

/// One product of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The product.
    pub product: ProductId,
    /// How many.
    pub quantity: Quantity,
    /// The price of one.
    pub unit_price: Money,
}

/// One thing that is wrong with a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// Where: a JSON pointer (RFC 6901), `/lines/0/quantity`.
    pub pointer: String,
    /// What, for people to read.
    pub detail: String,
}

impl Submission {
    /// Reads a submission out of a JSON document.
    ///
    /// # Errors
    /// Everything that is wrong with it, in the order of the document; never an empty list.
    pub fn parse(body: &Value) -> Result<Self, Vec<FieldError>> {
        let mut reader = Reader::default();
        let known = [
            "customer_id",
            "currency",
            "lines",
            "total_minor",
            "email",
            "payment",
        ];
        let Some(root) = reader.object(body, "", &known) else {
            return Err(reader.errors);
        };
        let customer = reader
            .text(root, "", "customer_id")
            .and_then(|text| reader.accept("/customer_id", CustomerId::parse(text)));
        let currency = reader.text(root, "", "currency").and_then(|code| {
            let found = Currency::parse(code).ok_or_else(|| {
                format!("{code:?} is not a currency: give its three-letter code of ISO 4217, such as EUR")
            });
            reader.accept("/currency", found)
        });
        let lines = lines(&mut reader, root);
        let total = lines.as_ref().and_then(|lines| sum(&mut reader, lines));
        if let (Some(stated), Some(total)) = (reader.whole(root, "", "total_minor", false), total)
            && stated != total.minor()
        {
            reader.wrong(
                "/total_minor",
                format!(
                    "is {stated}, but the lines add up to {}; it may be left out",
                    total.minor()
                ),
            );
        }
        let email = reader
            .optional_text(root, "", "email")
            .and_then(|address| reader.accept("/email", email::check(address)));
        let payment_token = token(&mut reader, root);
        match (customer, currency, lines, total, payment_token) {
            (Some(customer), Some(currency), Some(lines), Some(total), Some(payment_token))
                if reader.errors.is_empty() =>
            {
                Ok(Self {
                    customer,
                    lines,
                    currency,
                    total,
                    email,
                    payment_token,
                })
            }
            _ => Err(reader.errors),
        }
    }
}

/// The lines, or nothing when any of them is wrong.
fn lines(reader: &mut Reader, root: &serde_json::Map<String, Value>) -> Option<Vec<Line>> {
    let items = reader.array(root, "", "lines")?;
    if items.is_empty() {
        reader.wrong("/lines", "an order needs at least one line");
    } else if items.len() > LINES_MAX {
        reader.wrong(
            "/lines",
            format!(
                "has {} lines, and at most {LINES_MAX} are allowed",
                items.len()
            ),
        );
        return None;
    }
    let mut first_at = HashMap::new();
    let mut lines = Vec::with_capacity(items.len());
    for (at, item) in items.iter().enumerate() {
        let line = line(reader, &format!("/lines/{at}"), item);
        if let Some(name) = item.get("product").and_then(Value::as_str) {
            if let Some(first) = first_at.get(name) {
                reader.wrong(
                    format!("/lines/{at}/product"),
                    format!("{name:?} is in line {first} already: order a product once, with the quantity of all"),
                );
            } else {
                first_at.insert(name, at);
            }
        }
        lines.extend(line);
    }
    (lines.len() == items.len() && !lines.is_empty()).then_some(lines)
}

fn line(reader: &mut Reader, at: &str, item: &Value) -> Option<Line> {
    let fields = reader.object(item, at, &["product", "quantity", "unit_price_minor"])?;
    let product = reader
        .text(fields, at, "product")
        .and_then(|text| reader.accept(format!("{at}/product"), ProductId::parse(text)));
    let quantity = reader
        .whole(fields, at, "quantity", true)
        .and_then(|count| {
            let quantity = Quantity::new(count)
                .ok_or_else(|| format!("must be from 1 to {}, not {count}", Quantity::MAX));
            reader.accept(format!("{at}/quantity"), quantity)
        });
    let unit_price = reader
        .whole(fields, at, "unit_price_minor", true)
        .and_then(|minor| {
            let price = Money::from_minor(minor)
                .ok_or_else(|| format!("must not be negative, and is {minor}"));
            reader.accept(format!("{at}/unit_price_minor"), price)
        });
    let line = Line {
        product: product?,
        quantity: quantity?,
        unit_price: unit_price?,
    };
    if line.unit_price.times(line.quantity).is_none() {
        reader.wrong(
            format!("{at}/unit_price_minor"),
            "times the quantity is more than an amount can be",
        );
    }
    Some(line)
}

fn sum(reader: &mut Reader, lines: &[Line]) -> Option<Money> {
    let mut total = Money::ZERO;
    for line in lines {
        // A line that overflows by itself is reported at the line.
        let amount = line.unit_price.times(line.quantity)?;
        let Some(sum) = total.plus(amount) else {
            reader.wrong("/lines", "add up to more than an amount can be");
            return None;
        };
        total = sum;
    }
    if total == Money::ZERO {
        reader.wrong(
            "/lines",
            "add up to nothing, and there is nothing to pay then",
        );
        return None;
    }
    Some(total)
}

fn token(reader: &mut Reader, root: &serde_json::Map<String, Value>) -> Option<PaymentToken> {
    let payment = reader.required(root, "", "payment")?;
    let payment = reader.object(payment, "/payment", &["token"])?;
    let token = reader.text(payment, "/payment", "token")?;
    let allowed =
        (1..=TOKEN_MAX).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic());
    let checked = if allowed {
        Ok(PaymentToken(token.to_owned()))
    } else {
        // The value is not repeated: it may be a real token with a blank behind it.
        Err(format!(
            "must have 1 to {TOKEN_MAX} visible ASCII characters"
        ))
    };
    reader.accept("/payment/token", checked)
}

#[cfg(test)]
mod tests;

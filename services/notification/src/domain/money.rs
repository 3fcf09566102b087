//! Amounts for people to read.

use std::fmt;

/// An amount in the minor unit of its currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Money {
    /// For example cents.
    pub minor: i64,
    /// ISO 4217 alphabetic code.
    pub currency: String,
}

impl fmt::Display for Money {
    /// `12.50 EUR`, `1250 JPY`, `1.250 KWD`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = decimals(&self.currency);
        let sign = if self.minor < 0 { "-" } else { "" };
        let scale = 10_u64.pow(digits);
        let (whole, rest) = (
            self.minor.unsigned_abs() / scale,
            self.minor.unsigned_abs() % scale,
        );
        match digits {
            0 => write!(f, "{sign}{whole} {}", self.currency),
            _ => write!(
                f,
                "{sign}{whole}.{rest:0width$} {}",
                self.currency,
                width = digits as usize
            ),
        }
    }
}

/// Digits of the minor unit, by ISO 4217 list one; two where it says nothing else.
fn decimals(currency: &str) -> u32 {
    match currency {
        "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "UGX"
        | "UYI" | "VND" | "VUV" | "XAF" | "XOF" | "XPF" => 0,
        "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
        "CLF" | "UYW" => 4,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_currency_is_written_with_its_own_decimals() {
        for (minor, currency, text) in [
            (1_250, "EUR", "12.50 EUR"),
            (5, "EUR", "0.05 EUR"),
            (-5, "EUR", "-0.05 EUR"),
            (1_250, "JPY", "1250 JPY"),
            (1_250, "KWD", "1.250 KWD"),
            (i64::MIN, "USD", "-92233720368547758.08 USD"),
        ] {
            let currency = currency.to_owned();
            assert_eq!(Money { minor, currency }.to_string(), text);
        }
    }
}

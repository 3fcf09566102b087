//! Money in whole minor units, quantities within bounds, currencies by their ISO 4217 code. Never a
//! float: 0.1 + 0.2 is not 0.3.

use serde::Serialize;

/// An amount that is never negative, in minor units of a currency that the order states once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Money(i64);

impl Money {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// `minor` units, or nothing when it is negative.
    #[must_use]
    pub const fn from_minor(minor: i64) -> Option<Self> {
        if minor < 0 { None } else { Some(Self(minor)) }
    }

    /// The amount in minor units.
    #[must_use]
    pub const fn minor(self) -> i64 {
        self.0
    }

    /// Price times quantity; nothing when it does not fit 64 bits.
    #[must_use]
    pub fn times(self, quantity: Quantity) -> Option<Self> {
        self.0.checked_mul(i64::from(quantity.get())).map(Self)
    }

    /// The sum; nothing when it does not fit 64 bits.
    #[must_use]
    pub fn plus(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }
}

/// How many of a product: 1 to 10,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Quantity(i32);

impl Quantity {
    /// The largest quantity of one line.
    pub const MAX: i32 = 10_000;

    /// The quantity, or nothing when it is out of bounds.
    #[must_use]
    pub fn new(count: i64) -> Option<Self> {
        let count = i32::try_from(count).ok()?;
        (1..=Self::MAX).contains(&count).then_some(Self(count))
    }

    /// The count.
    #[must_use]
    pub const fn get(self) -> i32 {
        self.0
    }
}

/// A currency in use today, by its alphabetic code of ISO 4217.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Currency(&'static str);

impl Currency {
    /// The currency with this code; codes are upper-case, as the standard writes them.
    #[must_use]
    pub fn parse(code: &str) -> Option<Self> {
        let at = CODES.binary_search(&code).ok()?;
        CODES.get(at).copied().map(Self)
    }

    /// The three letters.
    #[must_use]
    pub const fn code(self) -> &'static str {
        self.0
    }
}

/// ISO 4217 list one, without funds, metals, units of account and test codes. Sorted: it is searched
/// by bisection.
#[rustfmt::skip]
const CODES: &[&str] = &[
    "AED", "AFN", "ALL", "AMD", "AOA", "ARS", "AUD", "AWG", "AZN", "BAM", "BBD", "BDT", "BHD", "BIF",
    "BMD", "BND", "BOB", "BRL", "BSD", "BTN", "BWP", "BYN", "BZD", "CAD", "CDF", "CHF", "CLP", "CNY",
    "COP", "CRC", "CUP", "CVE", "CZK", "DJF", "DKK", "DOP", "DZD", "EGP", "ERN", "ETB", "EUR", "FJD",
    "FKP", "GBP", "GEL", "GHS", "GIP", "GMD", "GNF", "GTQ", "GYD", "HKD", "HNL", "HTG", "HUF", "IDR",
    "ILS", "INR", "IQD", "IRR", "ISK", "JMD", "JOD", "JPY", "KES", "KGS", "KHR", "KMF", "KPW", "KRW",
    "KWD", "KYD", "KZT", "LAK", "LBP", "LKR", "LRD", "LSL", "LYD", "MAD", "MDL", "MGA", "MKD", "MMK",
    "MNT", "MOP", "MRU", "MUR", "MVR", "MWK", "MXN", "MYR", "MZN", "NAD", "NGN", "NIO", "NOK", "NPR",
    "NZD", "OMR", "PAB", "PEN", "PGK", "PHP", "PKR", "PLN", "PYG", "QAR", "RON", "RSD", "RUB", "RWF",
    "SAR", "SBD", "SCR", "SDG", "SEK", "SGD", "SHP", "SLE", "SOS", "SRD", "SSP", "STN", "SVC", "SYP",
    "SZL", "THB", "TJS", "TMT", "TND", "TOP", "TRY", "TTD", "TWD", "TZS", "UAH", "UGX", "USD", "UYU",
    "UZS", "VED", "VES", "VND", "VUV", "WST", "XAF", "XCD", "XCG", "XOF", "XPF", "YER", "ZAR", "ZMW",
    "ZWG",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_and_has_no_double() {
        assert!(CODES.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(CODES.iter().all(|code| code.len() == 3));
    }

    #[test]
    fn codes_are_exact() {
        assert_eq!(Currency::parse("EUR").map(Currency::code), Some("EUR"));
        for wrong in ["eur", "EU", "EURO", "XXX", "DEM", ""] {
            assert_eq!(Currency::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn overflow_is_seen() {
        let most = Money::from_minor(i64::MAX).unwrap();
        let two = Quantity::new(2).unwrap();
        assert_eq!(most.times(two), None);
        assert_eq!(most.plus(Money::from_minor(1).unwrap()), None);
        assert_eq!(Money::from_minor(-1), None);
    }

    #[test]
    fn quantities_have_bounds() {
        for wrong in [i64::MIN, -1, 0, 10_001, i64::from(i32::MAX) + 2, i64::MAX] {
            assert_eq!(Quantity::new(wrong), None, "{wrong}");
        }
        assert_eq!(Quantity::new(10_000).map(Quantity::get), Some(10_000));
    }
}

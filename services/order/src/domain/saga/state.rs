//! Where an order's saga stands. One enum, so that an order which is paid without stock, or cancelled
//! without saying what is still held, cannot be written down.

/// The state of one order's saga.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Saga {
    /// Inventory was asked to hold the stock.
    Reserving,
    /// Stock is held; payment was asked to set the amount aside.
    Authorizing,
    /// Stock is held and the amount set aside; both were told to make it final.
    Completing(Completion),
    /// Stock has left and money is taken: the order is confirmed.
    Paid,
    /// The order is off, and its legs give back what they hold.
    Cancelled {
        /// [`Verdict::Rejected`] or [`Verdict::Cancelled`].
        rejected: bool,
        /// What the stock leg still has to undo.
        stock: StockUndo,
        /// What the payment leg still has to undo.
        payment: PaymentUndo,
    },
}

/// Which of the two final steps is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Completion {
    /// Neither.
    Neither,
    /// The stock has left.
    StockCommitted,
    /// The money is taken.
    PaymentCaptured,
}

/// The stock leg of a cancelled order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StockUndo {
    /// Nothing was ever held.
    Rejected,
    /// A release is under way.
    Releasing,
    /// Nothing is held any more.
    Released,
}

/// The payment leg of a cancelled order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PaymentUndo {
    /// Payment was never asked.
    NotAsked,
    /// The provider refused.
    Declined,
    /// A void is under way.
    Voiding,
    /// Nothing is set aside any more.
    Voided,
    /// The money was taken and is given back.
    Refunded,
}

macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// Every value, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name that the API and the database use.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// The value of that name.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

named! {
    /// How far an order has come, for its customer.
    Status {
        /// Accepted; the stock is asked for.
        Created = "CREATED",
        /// The stock is held.
        Reserved = "RESERVED",
        /// The amount is set aside.
        Authorized = "AUTHORIZED",
        /// Stock has left, money is taken.
        Paid = "PAID",
        /// Off.
        Cancelled = "CANCELLED",
    }
}

named! {
    /// What became of an order.
    Verdict {
        /// Not decided yet.
        Pending = "pending",
        /// It will be delivered.
        Confirmed = "confirmed",
        /// A service refused it.
        Rejected = "rejected",
        /// It was called off.
        Cancelled = "cancelled",
    }
}

named! {
    /// Where the stock of an order is.
    StockLeg {
        /// Asked for.
        Reserving = "reserving",
        /// Refused.
        Rejected = "rejected",
        /// Held.
        Reserved = "reserved",
        /// Told to leave.
        Committing = "committing",
        /// Gone out.
        Committed = "committed",
        /// Asked back.
        Releasing = "releasing",
        /// Given back.
        Released = "released",
    }
}

named! {
    /// Where the money of an order is.
    PaymentLeg {
        /// Not asked for yet.
        NotAsked = "not_asked",
        /// The provider is asked to set it aside.
        Authorizing = "authorizing",
        /// Refused.
        Declined = "declined",
        /// Set aside, told to be taken.
        Capturing = "capturing",
        /// Taken.
        Captured = "captured",
        /// Asked back.
        Voiding = "voiding",
        /// No longer set aside.
        Voided = "voided",
        /// Given back.
        Refunded = "refunded",
    }
}

/// A stored combination that no saga can be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "no saga is {} with verdict {}, stock {} and payment {}",
    .status.as_str(), .verdict.as_str(), .stock.as_str(), .payment.as_str()
)]
pub struct InconsistentState {
    /// As stored.
    pub status: Status,
    /// As stored.
    pub verdict: Verdict,
    /// As stored.
    pub stock: StockLeg,
    /// As stored.
    pub payment: PaymentLeg,
}

impl Saga {
    /// How far the order has come.
    #[must_use]
    pub const fn status(self) -> Status {
        match self {
            Self::Reserving => Status::Created,
            Self::Authorizing => Status::Reserved,
            Self::Completing(_) => Status::Authorized,
            Self::Paid => Status::Paid,
            Self::Cancelled { .. } => Status::Cancelled,
        }
    }

    /// What became of the order.
    #[must_use]
    pub const fn verdict(self) -> Verdict {
        match self {
            Self::Reserving | Self::Authorizing | Self::Completing(_) => Verdict::Pending,
            Self::Paid => Verdict::Confirmed,
            Self::Cancelled { rejected: true, .. } => Verdict::Rejected,
            Self::Cancelled { .. } => Verdict::Cancelled,
        }
    }

    /// Where the stock is.
    #[must_use]
    pub const fn stock(self) -> StockLeg {
        match self {
            Self::Reserving => StockLeg::Reserving,
            Self::Authorizing => StockLeg::Reserved,
            Self::Completing(Completion::StockCommitted) | Self::Paid => StockLeg::Committed,
            Self::Completing(_) => StockLeg::Committing,
            Self::Cancelled { stock, .. } => match stock {
                StockUndo::Rejected => StockLeg::Rejected,
                StockUndo::Releasing => StockLeg::Releasing,
                StockUndo::Released => StockLeg::Released,
            },
        }
    }

    /// Where the money is.
    #[must_use]
    pub const fn payment(self) -> PaymentLeg {
        match self {
            Self::Reserving => PaymentLeg::NotAsked,
            Self::Authorizing => PaymentLeg::Authorizing,
            Self::Completing(Completion::PaymentCaptured) | Self::Paid => PaymentLeg::Captured,
            Self::Completing(_) => PaymentLeg::Capturing,
            Self::Cancelled { payment, .. } => match payment {
                PaymentUndo::NotAsked => PaymentLeg::NotAsked,
                PaymentUndo::Declined => PaymentLeg::Declined,
                PaymentUndo::Voiding => PaymentLeg::Voiding,
                PaymentUndo::Voided => PaymentLeg::Voided,
                PaymentUndo::Refunded => PaymentLeg::Refunded,
            },
        }
    }

    /// Whether no answer is awaited any more: paid, or cancelled with nothing held.
    #[must_use]
    pub const fn settled(self) -> bool {
        match self {
            Self::Reserving | Self::Authorizing | Self::Completing(_) => false,
            Self::Paid => true,
            Self::Cancelled { stock, payment, .. } => {
                !matches!(stock, StockUndo::Releasing) && !matches!(payment, PaymentUndo::Voiding)
            }
        }
    }

    /// The saga behind the four names that the database stores.
    ///
    /// # Errors
    /// [`InconsistentState`] when no saga has these names.
    pub fn from_parts(
        status: Status,
        verdict: Verdict,
        stock: StockLeg,
        payment: PaymentLeg,
    ) -> Result<Self, InconsistentState> {
        Self::all()
            .find(|saga| {
                (saga.status(), saga.verdict(), saga.stock(), saga.payment())
                    == (status, verdict, stock, payment)
            })
            .ok_or(InconsistentState {
                status,
                verdict,
                stock,
                payment,
            })
    }

    /// Every state there is.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        use PaymentUndo as P;
        use StockUndo as S;
        let completing = [
            Completion::Neither,
            Completion::StockCommitted,
            Completion::PaymentCaptured,
        ];
        let open = [Self::Reserving, Self::Authorizing, Self::Paid];
        let cancelled = [true, false].into_iter().flat_map(|rejected| {
            [S::Rejected, S::Releasing, S::Released]
                .into_iter()
                .flat_map(move |stock| {
                    [P::NotAsked, P::Declined, P::Voiding, P::Voided, P::Refunded]
                        .into_iter()
                        .map(move |payment| Self::Cancelled {
                            rejected,
                            stock,
                            payment,
                        })
                })
        });
        open.into_iter()
            .chain(completing.map(Self::Completing))
            .chain(cancelled)
    }
}

//! The names that describe a notification: which text, by which way, how far it got.

macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// The name that the API, the events and the database use.
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
    /// Which text. An order gets each at most once.
    Template {
        /// The order will be delivered.
        OrderConfirmed = "order_confirmed",
        /// The order is off.
        OrderCancelled = "order_cancelled",
    }
}

named! {
    /// By which way a message goes out.
    Channel {
        /// To the customer's address by SMTP.
        Email = "email",
        /// To the service's log, where there is no mail server or no address.
        Log = "log",
    }
}

named! {
    /// How far a notification got. `Sent` and `Failed` are final.
    Status {
        /// Not out yet.
        Pending = "pending",
        /// Handed over: to the mail server, or to the log.
        Sent = "sent",
        /// The mail server refused it for good.
        Failed = "failed",
    }
}

impl Status {
    /// Whether nothing more will happen to it.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Sent | Self::Failed)
    }
}

//! Why a message did not go out, and what that means for its record.

use std::time::Duration;

use lettre::transport::smtp;
use lettre::transport::smtp::response::Code;
use oncebox::{Classify, ErrorClass};

use super::server::Server;
use crate::domain::Recipient;

/// Of a server's words, so many characters are kept.
const TEXT_MAX: usize = 500;

/// How far the conversation had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Connecting, greeting, encryption.
    Connect,
    /// The login.
    Login,
    /// The sender's address.
    Sender,
    /// The recipient's address.
    Recipient,
    /// Asking to transmit the message.
    Content,
    /// The message is transmitted: from here on the server may have taken it over.
    End,
}

/// A message did not go out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// The server cannot be reached, or takes nothing at the moment.
    #[error("the mail server is away: {0}")]
    Away(String),
    /// The server does not know us. Nothing is wrong with the message.
    #[error("the mail server refuses the login of smtp_url: {0}")]
    Login(String),
    /// The server does not take messages from us. Nothing is wrong with the message.
    #[error("the mail server refuses the sender mail_from: {0}")]
    Sender(String),
    /// The server wants this message later.
    #[error("the mail server defers the message: {0}")]
    Deferred(String),
    /// The message was transmitted, and no answer came.
    #[error("the mail server did not say whether it took the message: {0}")]
    Unknown(String),
    /// The server refuses this message for good, or it cannot even be written.
    #[error("refused: {0}")]
    Refused(String),
}

impl NotSent {
    /// A connection could not be opened.
    pub(super) fn failed(stage: Stage, server: &Server, error: &smtp::Error) -> Self {
        Self::of(stage, error.status(), format!("{server}: {error}"))
    }

    /// A command was not answered as it should be.
    pub(super) fn answered(stage: Stage, error: &smtp::Error) -> Self {
        Self::of(stage, error.status(), error.to_string())
    }

    /// No answer in time.
    pub(super) fn silent(stage: Stage, limit: Duration) -> Self {
        Self::of(
            stage,
            None,
            format!("no answer within {} ms", limit.as_millis()),
        )
    }

    /// What we know of the recipient makes no message.
    pub(super) fn unusable(error: &dyn std::error::Error) -> Self {
        Self::Refused(format!("the address cannot be written to: {error}"))
    }

    fn of(stage: Stage, status: Option<Code>, text: String) -> Self {
        let text = clean(&text);
        let status = status.map(u16::from);
        let for_good = status.is_some_and(|status| status >= 500);
        match stage {
            // 421: the service is not available and closes (RFC 5321, section 3.8), at whatever command.
            _ if status == Some(421) => Self::Away(text),
            Stage::Connect => Self::Away(text),
            Stage::Login if for_good => Self::Login(text),
            Stage::Sender if for_good => Self::Sender(text),
            Stage::Login | Stage::Sender => Self::Away(text),
            _ if for_good => Self::Refused(text),
            // Counted, unlike an outage: a message at which the server hangs up each time must come to an end.
            Stage::End if status.is_none() => Self::Unknown(text),
            Stage::Recipient | Stage::Content | Stage::End => Self::Deferred(text),
        }
    }

    /// The same without the recipient's address, which servers repeat: this goes into logs.
    #[must_use]
    pub(super) fn without(self, recipient: &Recipient) -> Self {
        let hide = |text: String| recipient.hide_in(&text);
        match self {
            Self::Away(text) => Self::Away(hide(text)),
            Self::Login(text) => Self::Login(hide(text)),
            Self::Sender(text) => Self::Sender(hide(text)),
            Self::Deferred(text) => Self::Deferred(hide(text)),
            Self::Unknown(text) => Self::Unknown(hide(text)),
            Self::Refused(text) => Self::Refused(hide(text)),
        }
    }

    /// Whether every message would meet it.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        self.class() == ErrorClass::Outage
    }

    /// Whether the message is refused for good: its end, and no failure of its record.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(_))
    }
}

/// A server's words as they can be stored and read on one line.
fn clean(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    let line = words
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    line.chars().take(TEXT_MAX).collect()
}

impl Classify for NotSent {
    fn class(&self) -> ErrorClass {
        match self {
            // Waited for until an operator has mended it: otherwise a mistyped password would mark every
            // customer as unreachable.
            Self::Away(_) | Self::Login(_) | Self::Sender(_) => ErrorClass::Outage,
            Self::Deferred(_) | Self::Unknown(_) => ErrorClass::Transient,
            Self::Refused(_) => ErrorClass::Permanent,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Away(_) => "notification.smtp_away",
            Self::Login(_) => "notification.smtp_login_refused",
            Self::Sender(_) => "notification.sender_refused",
            Self::Deferred(_) => "notification.deferred",
            Self::Unknown(_) => "notification.outcome_unknown",
            Self::Refused(_) => "notification.refused",
        }
    }
}

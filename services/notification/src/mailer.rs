//! Email by SMTP. For the handler, which gives it one message at a time and hears what that means for the record.
//!
//! The commands are lettre's; the conversation is led here, because what a refusal means depends on the command that it
//! answers: one of the recipient is an answer about this message, one of the login or the sender is about all of them.

mod error;
mod server;
mod session;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use lettre::Message;
use lettre::message::Mailbox;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use uuid::Uuid;

use crate::domain::Recipient;

pub use error::{NotSent, Stage};
pub use server::{InvalidServer, Server};
use session::Session;

/// An unused connection is kept for so long; servers close theirs after minutes.
const KEPT: Duration = Duration::from_secs(30);

/// An email to go out.
#[derive(Debug, Clone)]
pub struct Mail<'a> {
    /// The notification, which becomes the Message-ID: whoever gets it twice can tell.
    pub id: Uuid,
    /// To whom.
    pub recipient: &'a Recipient,
    /// One line.
    pub subject: &'a str,
    /// Plain text.
    pub text: &'a str,
}

/// Sends email through one server. Several messages at once use a connection each.
#[derive(Debug)]
pub struct Mailer {
    server: Server,
    from: Mailbox,
    timeout: Duration,
    /// Open connections that nobody uses, the latest last.
    idle: Mutex<Vec<(Session, Instant)>>,
    /// What kept the server from taking messages at the last try.
    trouble: Mutex<Option<String>>,
}

impl Mailer {
    /// Connects to nothing yet. `timeout` is for one message, connecting included.
    #[must_use]
    pub fn new(server: Server, from: Mailbox, timeout: Duration) -> Self {
        Self {
            server,
            from,
            timeout,
            idle: Mutex::default(),
            trouble: Mutex::default(),
        }
    }

    /// Hands a message to the server; `Ok` is the server's word that it took it over.
    ///
    /// Dropped half-way, or without an answer after the last line, it may have been taken over nevertheless.
    ///
    /// # Errors
    /// [`NotSent`], which knows whether the message, the moment or the server is to blame.
    pub async fn send(&self, mail: &Mail<'_>) -> Result<(), NotSent> {
        let message = self.message(mail)?;
        let mut stage = Stage::Connect;
        let sending = self.converse(&message, mail.recipient, &mut stage);
        let result = match tokio::time::timeout(self.timeout, sending).await {
            Ok(result) => result,
            Err(_) => Err(NotSent::silent(stage, self.timeout)),
        };
        let trouble = result.as_ref().err().filter(|error| error.is_outage());
        *lock(&self.trouble) = trouble.map(ToString::to_string);
        result
    }

    /// Whether the server took what it was given last; a refusal of one message is no trouble.
    ///
    /// # Errors
    /// What is in the way.
    pub fn health(&self) -> Result<(), String> {
        lock(&self.trouble).clone().map_or(Ok(()), Err)
    }

    async fn converse(
        &self,
        message: &Message,
        recipient: &Recipient,
        stage: &mut Stage,
    ) -> Result<(), NotSent> {
        let mut session = match self.kept().await {
            Some(session) => session,
            None => Session::open(&self.server, self.timeout, stage).await?,
        };
        session
            .deliver(message.envelope(), &message.formatted(), stage)
            .await
            .map_err(|error| error.without(recipient))?;
        // Only after a success: what an error leaves of the conversation is anybody's guess.
        lock(&self.idle).push((session, Instant::now()));
        Ok(())
    }

    /// A connection from before that still answers.
    async fn kept(&self) -> Option<Session> {
        loop {
            let (mut session, since) = lock(&self.idle).pop()?;
            if since.elapsed() < KEPT && session.answers().await {
                return Some(session);
            }
        }
    }

    fn message(&self, mail: &Mail<'_>) -> Result<Message, NotSent> {
        let to: lettre::Address = mail
            .recipient
            .expose()
            .parse()
            .map_err(|error| NotSent::unusable(&error))?;
        let id = format!("<{}@{}>", mail.id, self.from.email.domain());
        // Keeps holiday notices and the like from answering (RFC 3834, section 5).
        let automatic = HeaderValue::new(
            HeaderName::new_from_ascii_str("Auto-Submitted"),
            "auto-generated".to_owned(),
        );
        Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(mail.subject)
            .message_id(Some(id))
            .raw_header(automatic)
            .header(ContentType::TEXT_PLAIN)
            .body(mail.text.to_owned())
            .map_err(|error| NotSent::unusable(&error))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

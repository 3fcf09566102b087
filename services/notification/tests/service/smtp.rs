//! A small mail server: it speaks SMTP over TCP, keeps what it takes over, and refuses what it is told to refuse.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What it took over: the envelope's recipient and the message as transmitted.
#[derive(Debug, Clone)]
pub(crate) struct Taken {
    pub(crate) recipient: String,
    pub(crate) message: String,
}

/// Stands for "hang up without a word" as an answer.
pub(crate) const HANG_UP: &str = "";
/// Stands for "say nothing and wait" as an answer.
pub(crate) const SILENCE: &str = "silence";

#[derive(Debug, Clone)]
pub(crate) struct Smtp {
    port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    taken: Vec<Taken>,
    connections: usize,
    /// Beginning of a command line (`connect` and `.` stand for the greeting and the end of a message), and the answer.
    rules: Vec<(String, String)>,
}

impl Smtp {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State::default()));
        let served = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                served.lock().unwrap().connections += 1;
                // A client that goes away in the middle is part of the tests.
                let conversation = converse(stream, Arc::clone(&served));
                tokio::spawn(async move { conversation.await.ok() });
            }
        });
        Self { port, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.port)
    }

    pub(crate) fn url_with_login(&self) -> String {
        format!("smtp://shop:secret@127.0.0.1:{}", self.port)
    }

    /// From now on a command that begins like this is answered like that.
    pub(crate) fn answer(&self, command: &str, reply: &str) {
        let rule = (command.to_owned(), reply.to_owned());
        self.state.lock().unwrap().rules.push(rule);
    }

    /// From now on everything is taken.
    pub(crate) fn accept_all(&self) {
        self.state.lock().unwrap().rules.clear();
    }

    pub(crate) fn taken(&self) -> Vec<Taken> {
        self.state.lock().unwrap().taken.clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.state.lock().unwrap().connections
    }
}

async fn converse(stream: TcpStream, state: Arc<Mutex<State>>) -> std::io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    let (mut recipient, mut message) = (String::new(), None::<String>);
    let mut command = "connect".to_owned();
    loop {
        let reply = answer(&state, &command);
        if reply == HANG_UP {
            return Ok(());
        }
        if reply != SILENCE {
            writer.write_all(format!("{reply}\r\n").as_bytes()).await?;
        }
        let refused = reply.starts_with(['4', '5']);
        match command.split([' ', ':']).next().unwrap_or_default() {
            "RCPT" => {
                let address = command.split(['<', '>']).nth(1);
                recipient = address.unwrap_or_default().to_owned();
            }
            "DATA" if !refused => message = Some(String::new()),
            "QUIT" => return Ok(()),
            _ => {}
        }
        let Some(mut line) = lines.next_line().await? else {
            return Ok(());
        };
        if let Some(mut message) = message.take() {
            while line != "." {
                message.push_str(&line);
                message.push('\n');
                let Some(next) = lines.next_line().await? else {
                    return Ok(());
                };
                line = next;
            }
            // Taken over is what is answered with 250, and nothing else: without an answer nobody knows.
            if answer(&state, ".").starts_with("250") {
                let recipient = recipient.clone();
                let taken = Taken { recipient, message };
                state.lock().unwrap().taken.push(taken);
            }
        }
        command = line;
    }
}

fn answer(state: &Mutex<State>, command: &str) -> String {
    let state = state.lock().unwrap();
    let rule = state
        .rules
        .iter()
        .find(|(start, _)| command.starts_with(start.as_str()));
    if let Some((_, reply)) = rule {
        return reply.clone();
    }
    let word = command.split([' ', ':']).next().unwrap_or_default();
    match word {
        "connect" => "220 mail.test",
        "EHLO" => "250-mail.test\r\n250-8BITMIME\r\n250 AUTH PLAIN",
        "AUTH" => "235 welcome",
        "DATA" => "354 go on",
        "QUIT" => "221 bye",
        _ => "250 ok",
    }
    .to_owned()
}

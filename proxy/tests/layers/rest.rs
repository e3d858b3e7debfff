//! A management server that is asked by HTTP: POST and JSON.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

use super::support::message::{Kind, Message};

/// What a path answers.
#[derive(Clone)]
pub enum Answer {
    Resources(&'static str, Vec<Value>),
    /// Bytes that are no response.
    Raw(&'static str),
    Status(&'static str),
}

/// One request.
#[derive(Clone, Debug)]
pub struct Asked {
    /// `runtime`, `clusters`...: what follows `/v3/discovery:`.
    pub kind: String,
    pub headers: Vec<(String, String)>,
    pub body: Value,
}

#[derive(Default)]
struct State {
    answers: BTreeMap<String, Answer>,
    asked: Vec<Asked>,
}

/// Serves until the process ends.
pub struct Server {
    pub port: u16,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::<Mutex<State>>::default();
        let shared = state.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = shared.clone();
                thread::spawn(move || serve(stream, &state));
            }
        });
        Self { port, state }
    }

    pub fn set(&self, kind: &str, answer: Answer) {
        self.state.lock().unwrap().answers.insert(kind.to_owned(), answer);
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.state.lock().unwrap().asked.clone()
    }
}

fn serve(mut stream: TcpStream, state: &Mutex<State>) {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 16384]);
    loop {
        match Message::parse(&bytes, Kind::Request, false) {
            Some((message, used)) if message.complete => {
                bytes.drain(..used);
                if stream.write_all(answer(&message, state).as_bytes()).is_err() {
                    return;
                }
            }
            _ => match stream.read(&mut chunk) {
                Ok(n @ 1..) => bytes.extend_from_slice(&chunk[..n]),
                _ => return,
            },
        }
    }
}

fn answer(message: &Message, state: &Mutex<State>) -> String {
    let kind = message.start.strip_prefix("POST /v3/discovery:").unwrap_or_default();
    let kind = kind.split(' ').next().unwrap().to_owned();
    let mut state = state.lock().unwrap();
    let answer = state.answers.get(&kind).cloned();
    state.asked.push(Asked {
        kind,
        headers: message.headers.clone(),
        body: serde_json::from_slice(&message.body).unwrap_or_default(),
    });
    let (status, body) = match answer {
        None => ("200 OK", json!({"version_info": "0"}).to_string()),
        Some(Answer::Resources(version, resources)) => (
            "200 OK",
            json!({"version_info": version, "resources": resources}).to_string(),
        ),
        Some(Answer::Raw(body)) => ("200 OK", body.to_owned()),
        Some(Answer::Status(status)) => (status, String::new()),
    };
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

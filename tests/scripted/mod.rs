//! Servers that read a request and do what a test wrote down for them.
#![allow(dead_code, reason = "each test file uses its part of this")]

use std::time::Duration;

use futures::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::Receiver;
use voxgate::provider::http::Patience;
use voxgate::provider::{ChatModel, ChatPiece, ChatRequest, ProviderError};

pub const KEY: &str = "sk-very-secret-key";

pub fn patience() -> Patience {
    Patience {
        first_byte: Duration::from_millis(300),
        between: Duration::from_millis(300),
        whole: Duration::from_secs(3),
    }
}

/// Something that a scripted server does after it has read a request.
#[derive(Clone)]
pub enum Act {
    /// Bytes, at once.
    Send(Vec<u8>),
    /// Nothing, for milliseconds.
    Wait(u64),
    /// Nothing, for ever.
    Hang,
}

pub fn send(bytes: impl AsRef<[u8]>) -> Act {
    Act::Send(bytes.as_ref().to_vec())
}

pub async fn request(socket: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let mut buffer = [0; 4_096];
    loop {
        let read = socket.read(&mut buffer).await.unwrap();
        all.extend_from_slice(&buffer[..read]);
        let Some(head) = all.windows(4).position(|end| end == b"\r\n\r\n") else {
            assert!(read > 0, "no request");
            continue;
        };
        let text = String::from_utf8_lossy(&all[..head]).to_lowercase();
        let length =
            text.split("content-length: ").nth(1).map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
        if all.len() >= head + 4 + length {
            return all;
        }
    }
}

/// Serves one script to each connection; the last request comes back by the channel.
pub async fn serve(script: Vec<Act>) -> (String, tokio::sync::mpsc::Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let (heard, requests) = tokio::sync::mpsc::channel(8);
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let (script, heard) = (script.clone(), heard.clone());
            tokio::spawn(async move {
                let _ = heard.send(request(&mut socket).await).await;
                for act in script {
                    match act {
                        Act::Send(bytes) => {
                            let _ = socket.write_all(&bytes).await;
                            let _ = socket.flush().await;
                        }
                        Act::Wait(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
                        Act::Hang => std::future::pending().await,
                    }
                }
            });
        }
    });
    (url, requests)
}

pub const SSE: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";

pub fn plain(status: &str, extra: &str, body: &str) -> Act {
    send(format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{extra}connection: close\r\n\r\n{body}", body.len()))
}

/// What came before the error, if there was one. ✂ is an answer that was cut for want of tokens.
pub async fn said(model: &impl ChatModel, request: ChatRequest) -> (String, Option<ProviderError>) {
    let mut stream = model.chat(request);
    let mut text = String::new();
    while let Some(piece) = stream.next().await {
        match piece {
            Ok(ChatPiece::Text(piece)) => text.push_str(&piece),
            Ok(ChatPiece::Cut) => text.push('✂'),
            Ok(ChatPiece::StoodIn) => {}
            Ok(ChatPiece::Call(call)) => text.extend(["[", &call.id, " ", &call.name, " ", &call.arguments, "]"]),
            Err(error) => {
                assert!(!error.to_string().contains(KEY) && !format!("{error:?}").contains(KEY), "{error}");
                assert!(stream.next().await.is_none(), "an error is the last item");
                return (text, Some(error));
            }
        }
    }
    (text, None)
}

/// Head and body of the next request that a server had.
pub async fn asked(requests: &mut Receiver<Vec<u8>>) -> (String, serde_json::Value) {
    let request = String::from_utf8(requests.recv().await.unwrap()).unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), serde_json::from_str(body).unwrap())
}

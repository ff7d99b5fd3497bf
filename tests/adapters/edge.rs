//! The voices of Microsoft Edge's read-aloud, against a server of the shape that its public clients describe.

use std::sync::Arc;

use futures::{SinkExt, StreamExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc::Receiver;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use voxgate::domain::{Clock, Wall};
use voxgate::provider::edge::{EdgeSynthesizer, headers};
use voxgate::provider::{ErrorKind, PcmChunk, ProviderError, SpeechRequest, Synthesizer};

use crate::scripted::{Act, plain, send, serve};
use crate::{target, workers};

/// Noon of 22 November 2026.
#[derive(Debug)]
struct Noon;

impl Clock for Noon {
    fn wall(&self) -> Wall {
        Wall(1_795_348_800_000)
    }

    fn mono(&self) -> std::time::Duration {
        std::time::Duration::ZERO
    }
}

/// What a scripted service does after it was asked.
#[derive(Clone)]
enum Say {
    Text(&'static str),
    Bytes(Vec<u8>),
    Close(u16, &'static str),
    Wait(u64),
    Hang,
    /// The connection is gone, without a word.
    Drop,
}

/// The address and the headers of a request, and its two messages.
type Asked = (String, String, [String; 2]);

async fn speaks(script: Vec<Say>) -> (String, Receiver<Asked>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/read/v1", listener.local_addr().unwrap());
    let (heard, asked) = tokio::sync::mpsc::channel(8);
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let (script, heard) = (script.clone(), heard.clone());
            tokio::spawn(async move {
                let (mut uri, mut head) = (String::new(), String::new());
                #[expect(clippy::result_large_err, reason = "the library's own type")]
                let note = |request: &Request, response: Response| {
                    uri = request.uri().to_string();
                    head = format!("{:?}", request.headers());
                    Ok(response)
                };
                let mut socket = tokio_tungstenite::accept_hdr_async(socket, note).await.unwrap();
                let form = socket.next().await.unwrap().unwrap().into_text().unwrap().to_string();
                let text = socket.next().await.unwrap().unwrap().into_text().unwrap().to_string();
                let _ = heard.send((uri, head, [form, text])).await;
                for say in script {
                    match say {
                        Say::Text(text) => drop(socket.send(Message::text(text)).await),
                        Say::Bytes(bytes) => drop(socket.send(Message::binary(bytes)).await),
                        Say::Close(code, reason) => {
                            let frame = CloseFrame { code: code.into(), reason: reason.into() };
                            drop(socket.send(Message::Close(Some(frame))).await);
                            while let Some(Ok(_)) = socket.next().await {}
                        }
                        Say::Wait(ms) => tokio::time::sleep(std::time::Duration::from_millis(ms)).await,
                        Say::Hang => std::future::pending().await,
                        Say::Drop => return,
                    }
                }
            });
        }
    });
    (url, asked)
}

const START: Say = Say::Text(
    "X-RequestId:1\r\nContent-Type:application/json; charset=utf-8\r\nPath:turn.start\r\n\r\n{\"context\":{}}",
);
const RESPONSE: Say = Say::Text("X-RequestId:1\r\nPath:response\r\n\r\n{\"audio\":{\"type\":\"inline\"}}");
const END: Say = Say::Text("X-RequestId:1\r\nContent-Type:application/json; charset=utf-8\r\nPath:turn.end\r\n\r\n{}");

/// A piece of sound as the service sends it.
fn sound(mp3: &[u8]) -> Say {
    let head = "X-RequestId:1\r\nContent-Type:audio/mpeg\r\nX-StreamId:2\r\nPath:audio\r\n";
    Say::Bytes([&u16::try_from(head.len()).unwrap().to_be_bytes(), head.as_bytes(), mp3].concat())
}

/// So many frames of 24 ms of the silence that an encoder writes: MPEG-2, layer III, 48 kbit/s, 24 kHz, mono.
fn mp3(frames: usize) -> Vec<u8> {
    let mut frame = [0; 144];
    frame[..4].copy_from_slice(&[0xff, 0xf3, 0x64, 0xc0]);
    frame.repeat(frames)
}

fn voice(url: &str) -> EdgeSynthesizer {
    EdgeSynthesizer::new(target(url, headers(), ""), "en-GB-SoniaNeural", Arc::new(Noon), workers())
}

fn request(text: &str) -> SpeechRequest {
    SpeechRequest { text: text.into(), ..SpeechRequest::default() }
}

/// The samples of what is said before the error, if there is one.
async fn spoken_at(url: &str) -> (usize, Option<ProviderError>) {
    let mut stream = voice(url).speak(request("Good <b>morning</b> & so on"));
    let mut samples = 0;
    while let Some(chunk) = stream.next().await {
        match chunk {
            Ok(PcmChunk { rate, samples: chunk, .. }) => {
                assert_eq!(rate, 24_000);
                samples += chunk.len();
            }
            Err(error) => {
                assert!(stream.next().await.is_none(), "an error is the last item");
                return (samples, Some(error));
            }
        }
    }
    (samples, None)
}

async fn spoken(script: Vec<Say>) -> (usize, Option<ProviderError>) {
    let (url, _asked) = speaks(script).await;
    spoken_at(&url).await
}

async fn failed(script: Vec<Say>) -> (ErrorKind, String) {
    let error = spoken(script).await.1.unwrap();
    (error.kind, error.message)
}

#[tokio::test]
async fn a_voice_is_asked_as_the_browser_asks_and_its_mp3_is_heard() {
    let all = mp3(40);
    let mut script = vec![START, RESPONSE];
    for piece in all.chunks(700) {
        script.extend([sound(piece), Say::Wait(2)]);
    }
    script.extend([Say::Text("Path:audio.metadata\r\n\r\n{\"Metadata\":[]}"), sound(b""), END]);
    let (url, mut asked) = speaks(script).await;
    assert_eq!(spoken_at(&url).await, (40 * 576, None));
    let (uri, head, [form, text]) = asked.recv().await.unwrap();
    assert!(uri.starts_with("/read/v1?TrustedClientToken=6A5AA1D4EAFF4E9FB37E23D68491D6F4&ConnectionId="), "{uri}");
    let token = "CE83EF8DC1E7DC4A1A9963E4981BC1057679076CE1D71DAEACDE0AFC8667F4A1";
    assert!(uri.contains(&format!("&Sec-MS-GEC={token}&Sec-MS-GEC-Version=1-1")), "{uri}");
    assert!(head.contains("Edg/") && head.contains("chrome-extension://"), "{head}");
    assert!(form.contains("Path:speech.config\r\n\r\n{") && form.contains("audio-24khz-48kbitrate-mono-mp3"), "{form}");
    assert!(form.starts_with("X-Timestamp:Sun Nov 22 2026 12:00:00 GMT+0000"), "{form}");
    assert!(text.contains("Path:ssml\r\n\r\n<speak version='1.0'"), "{text}");
    assert!(
        text.contains(
            "xml:lang='en-GB'><voice name='Microsoft Server Speech Text to Speech Voice (en-GB, SoniaNeural)'>"
        )
    );
    assert!(text.contains(">Good &lt;b&gt;morning&lt;/b&gt; &amp; so on</prosody>"), "{text}");
}

#[tokio::test]
async fn sound_is_heard_while_more_of_it_comes() {
    let (url, _asked) = speaks(vec![START, sound(&mp3(20)), Say::Hang]).await;
    let mut stream = voice(&url).speak(request("hi"));
    let first = stream.next().await.unwrap().unwrap();
    assert!(first.samples.len() >= 10 * 576, "{}", first.samples.len());
    assert_eq!(stream.next().await.unwrap().unwrap_err().kind, ErrorKind::Timeout);
}

#[tokio::test]
async fn speech_that_is_cut_is_an_error_after_its_sound() {
    let (samples, error) = spoken(vec![START, sound(&mp3(20)), Say::Drop]).await;
    assert!(samples >= 10 * 576, "{samples}");
    assert_eq!(error.unwrap().kind, ErrorKind::Unavailable);
    let (kind, message) = failed(vec![START, Say::Close(1007, "Unsupported voice")]).await;
    assert_eq!(
        (kind, message.as_str()),
        (ErrorKind::BadRequest, "the service closed the stream: 1007 Unsupported voice")
    );
    assert_eq!(failed(vec![Say::Close(1011, "")]).await.0, ErrorKind::Internal);
    assert_eq!(failed(vec![START, Say::Close(1000, "")]).await.0, ErrorKind::Unavailable, "before the end of the turn");
}

#[tokio::test]
async fn what_is_no_speech_is_said_to_be_none() {
    for garbage in [vec![], vec![0], vec![0, 200, 1], vec![0xff; 40]] {
        assert_eq!(failed(vec![START, Say::Bytes(garbage)]).await.0, ErrorKind::BadAnswer);
    }
    let (kind, message) = failed(vec![START, sound(&[7; 2_000]), END]).await;
    assert_eq!((kind, message.as_str()), (ErrorKind::BadAnswer, "the sound is no mp3"));
    let (kind, message) = failed(vec![START, RESPONSE, END]).await;
    assert_eq!(kind, ErrorKind::BadAnswer, "{message}");
    assert!(message.contains("does it have this voice"), "{message}");
}

#[tokio::test]
async fn each_refusal_has_its_kind_and_silence_ends() {
    let refused = async |act: Act| {
        let (url, _requests) = serve(vec![act]).await;
        spoken_at(&url).await.1.unwrap().kind
    };
    assert_eq!(refused(plain("401 Unauthorized", "", "")).await, ErrorKind::Unauthorized);
    assert_eq!(refused(plain("403 Forbidden", "", "")).await, ErrorKind::Unauthorized, "a token of another time");
    assert_eq!(refused(plain("429 Too Many Requests", "", "")).await, ErrorKind::RateLimited);
    assert_eq!(refused(plain("500 Internal Server Error", "", "")).await, ErrorKind::Internal);
    assert_eq!(refused(plain("200 OK", "", "hello")).await, ErrorKind::BadAnswer, "no WebSocket");
    assert_eq!(refused(send("SSH-2.0-OpenSSH\r\n")).await, ErrorKind::Unavailable);
    assert_eq!(refused(Act::Hang).await, ErrorKind::Timeout);
    let (kind, message) = failed(vec![Say::Hang]).await;
    assert_eq!((kind, message.as_str()), (ErrorKind::Timeout, "no answer within 300ms"));
    let (kind, message) = failed(vec![START, Say::Hang]).await;
    assert_eq!((kind, message.as_str()), (ErrorKind::Timeout, "no next piece within 300ms"));
}

#[tokio::test]
async fn a_voice_that_is_no_name_is_never_sent() {
    let request = SpeechRequest { voice: Some("x'/><voice".into()), ..request("hi") };
    let error = voice("ws://127.0.0.1:1/v1").speak(request).next().await.unwrap().unwrap_err();
    assert_eq!(error.kind, ErrorKind::BadRequest);
}

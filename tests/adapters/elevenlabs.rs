//! ElevenLabs' text to speech.

use std::time::Duration;

use futures::StreamExt;
use serde_json::json;
use voxgate::provider::elevenlabs::{ElevenLabsSynthesizer, headers};
use voxgate::provider::{ErrorKind, ProviderError, SpeechRequest, Synthesizer};

use crate::scripted::{Act, KEY, plain, send, serve};
use crate::{asked, target};

const VOICE: &str = "JBFqnCBsd6RMkjVDRZzb";
const PCM: &str = "HTTP/1.1 200 OK\r\ncontent-type: audio/pcm\r\nconnection: close\r\n\r\n";

fn voice(url: &str, model: &str) -> ElevenLabsSynthesizer {
    ElevenLabsSynthesizer::new(target(url, headers(Some(KEY)), model), VOICE, 24_000)
}

fn say() -> SpeechRequest {
    SpeechRequest { text: "Hello there.".into(), language: Some("de-AT".into()), ..SpeechRequest::default() }
}

/// The samples that came, and the error after them.
async fn spoken(synthesizer: &impl Synthesizer, request: SpeechRequest) -> (Vec<i16>, Option<ProviderError>) {
    let mut stream = synthesizer.speak(request);
    let mut samples = Vec::new();
    while let Some(chunk) = stream.next().await {
        match chunk {
            Ok(chunk) => {
                assert_eq!(chunk.rate, 24_000);
                samples.extend(chunk.samples);
            }
            Err(error) => {
                assert!(!error.to_string().contains(KEY) && !format!("{error:?}").contains(KEY), "{error}");
                assert!(stream.next().await.is_none(), "an error is the last item");
                return (samples, Some(error));
            }
        }
    }
    (samples, None)
}

async fn speak(script: Vec<Act>) -> (Vec<i16>, Option<ProviderError>) {
    let (url, _requests) = serve(script).await;
    spoken(&voice(&url, "eleven_flash_v2_5"), say()).await
}

#[tokio::test]
async fn speech_streams_and_a_sample_that_is_cut_in_two_is_whole() {
    let script = vec![send(PCM), send([1, 0, 2]), Act::Wait(20), send([0, 3]), Act::Wait(20), send([0, 0xff, 0xff])];
    assert_eq!(speak(script).await, (vec![1, 2, 3, -1], None));
}

#[tokio::test]
async fn speech_that_breaks_off_is_an_error_after_its_samples() {
    let cut = "HTTP/1.1 200 OK\r\ncontent-type: audio/pcm\r\ncontent-length: 100\r\n\r\n";
    let (samples, error) = speak(vec![send(cut), send([1, 0, 2])]).await;
    assert_eq!((samples, error.unwrap().kind), (vec![1], ErrorKind::Unavailable));
}

#[tokio::test]
async fn the_key_and_the_form_are_asked_for_where_the_service_wants_them() {
    let (url, mut requests) = serve(vec![send(PCM), send([1, 0])]).await;
    let flash = voice(&url, "eleven_flash_v2_5");
    assert!(!format!("{flash:?}").contains(KEY));
    spoken(&flash, say()).await;
    let (head, body) = asked(&mut requests).await;
    let (first, rest) = head.split_once("\r\n").unwrap();
    assert_eq!(first, format!("POST /v1/text-to-speech/{VOICE}/stream?output_format=pcm_24000 HTTP/1.1"));
    assert!(rest.to_lowercase().contains(&format!("xi-api-key: {KEY}")), "{rest}");
    assert_eq!(body, json!({ "text": "Hello there.", "model_id": "eleven_flash_v2_5", "language_code": "de" }));

    let other = SpeechRequest { voice: Some("other".into()), ..say() };
    spoken(&voice(&url, "eleven_multilingual_v2"), other).await;
    let (head, body) = asked(&mut requests).await;
    assert!(head.starts_with("POST /v1/text-to-speech/other/stream?"), "{head}");
    assert_eq!(body, json!({ "text": "Hello there.", "model_id": "eleven_multilingual_v2" }), "it refuses a language");
}

#[tokio::test]
async fn a_voice_that_would_be_another_address_is_not_asked_for() {
    let (url, mut requests) = serve(vec![send(PCM)]).await;
    for odd in ["", "..", "a/b", "a?b", "a b", "é"] {
        let (_, error) = spoken(&voice(&url, "m"), SpeechRequest { voice: Some(odd.into()), ..say() }).await;
        assert_eq!(error.unwrap().kind, ErrorKind::BadRequest, "{odd:?}");
    }
    assert!(requests.try_recv().is_err());
}

#[tokio::test]
async fn a_redirect_to_another_host_is_not_followed_with_the_key() {
    let (elsewhere, mut requests) = serve(vec![send(PCM), send([1, 0])]).await;
    let redirect = plain("307 Temporary Redirect", &format!("location: {elsewhere}/x\r\n"), "");
    let error = speak(vec![redirect]).await.1.unwrap();
    assert_eq!(error.kind, ErrorKind::BadAnswer, "{error}");
    assert!(requests.try_recv().is_err());
}

#[tokio::test]
async fn each_refusal_has_its_kind_and_none_repeats_the_key() {
    let body = |status: &str, text: &str| json!({ "detail": { "status": status, "message": text } }).to_string();
    let wrong = body("invalid_api_key", &format!("Invalid API key: {KEY}"));
    let error = speak(vec![plain("401 Unauthorized", "", &wrong)]).await.1.unwrap();
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Unauthorized, "status 401: Invalid API key: ***"));
    let busy = plain("429 Too Many Requests", "retry-after: 17\r\n", &body("system_busy", "busy"));
    let error = speak(vec![busy]).await.1.unwrap();
    assert_eq!((error.kind, error.retry_after), (ErrorKind::RateLimited, Some(Duration::from_secs(17))));
    let invalid = json!({ "detail": [{ "loc": ["body", "text"], "msg": "field required" }] }).to_string();
    for (status, body, kind) in [
        ("401 Unauthorized", body("quota_exceeded", "used up"), ErrorKind::RateLimited),
        ("404 Not Found", body("voice_not_found", "no such voice"), ErrorKind::BadRequest),
        ("422 Unprocessable Entity", invalid, ErrorKind::BadRequest),
        ("500 Internal Server Error", "oops".into(), ErrorKind::Internal),
    ] {
        let error = speak(vec![plain(status, "", &body)]).await.1.unwrap();
        assert_eq!(error.kind, kind, "{status} {body}");
    }
    assert_eq!(speak(vec![send("SSH-2.0-OpenSSH\r\n")]).await.1.unwrap().kind, ErrorKind::Unavailable);
}

#[tokio::test]
async fn silence_ends_with_a_timeout_that_says_what_was_awaited() {
    let error = speak(vec![Act::Hang]).await.1.unwrap();
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Timeout, "no answer within 300ms"));
    let (samples, error) = speak(vec![send(PCM), send([1, 0]), Act::Hang]).await;
    let error = error.unwrap();
    assert_eq!((samples, error.kind), (vec![1], ErrorKind::Timeout));
    assert_eq!(error.message, "no next piece within 300ms");
}

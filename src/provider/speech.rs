//! Speech as raw samples over HTTP: signed 16 bit, little endian, mono, in pieces that are cut anywhere.

use futures::StreamExt;
use serde_json::Value;

use super::http::ByteStream;
use super::target::Target;
use super::{PcmChunk, ProviderError, SpeechStream};

/// Posts `call` to `url`, and streams the samples of the answer, of which there are `rate` a second.
pub(super) fn stream(target: Target, url: String, call: Value, rate: u32) -> SpeechStream {
    let speech = Speech { target, rate, stage: Stage::Ask(url, call), odd: None };
    futures::stream::unfold(speech, |mut speech| async move {
        let item = speech.next().await?;
        if item.is_err() {
            speech.stage = Stage::Over;
        }
        Some((item, speech))
    })
    .boxed()
}

struct Speech {
    target: Target,
    rate: u32,
    stage: Stage,
    /// The first half of a sample.
    odd: Option<u8>,
}

enum Stage {
    Ask(String, Value),
    Hear(ByteStream),
    Over,
}

impl Speech {
    async fn next(&mut self) -> Option<Result<PcmChunk, ProviderError>> {
        loop {
            let target = &self.target;
            match &mut self.stage {
                Stage::Over => return None,
                Stage::Ask(url, call) => {
                    let body = target.client.post_stream(url, &target.headers, call, target.patience).await;
                    match body {
                        Ok(body) => self.stage = Stage::Hear(body),
                        Err(error) => return Some(Err(target.failure(error))),
                    }
                }
                Stage::Hear(body) => match body.next().await? {
                    Err(error) => return Some(Err(target.failure(error))),
                    Ok(bytes) => {
                        let samples = samples(&mut self.odd, &bytes);
                        if !samples.is_empty() {
                            return Some(Ok(PcmChunk { rate: self.rate, samples, ..PcmChunk::default() }));
                        }
                    }
                },
            }
        }
    }
}

fn samples(odd: &mut Option<u8>, bytes: &[u8]) -> Vec<i16> {
    let mut all = Vec::with_capacity(bytes.len() / 2 + 1);
    let mut bytes = bytes.iter().copied();
    let mut low = odd.take().or_else(|| bytes.next());
    while let Some(first) = low {
        let Some(second) = bytes.next() else {
            *odd = Some(first);
            break;
        };
        all.push(i16::from_le_bytes([first, second]));
        low = bytes.next();
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_that_is_cut_in_two_is_whole_again() {
        let mut odd = None;
        assert!(samples(&mut odd, &[1]).is_empty());
        assert_eq!(samples(&mut odd, &[0, 2, 0, 3]), [1, 2]);
        assert!(samples(&mut odd, &[]).is_empty());
        assert_eq!(samples(&mut odd, &[0]), [3]);
    }
}

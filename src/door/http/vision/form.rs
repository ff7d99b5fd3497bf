//! A photo's form: `question` and `file`, in any order; other parts are passed over, and count.

use axum::extract::Multipart;
use axum::extract::multipart::{Field, MultipartError};
use axum::http::StatusCode;
use bytes::Bytes;

use super::super::devices::refusal::Refusal;
use super::Settings;
use crate::wire::picture::{self, Picture};

/// Most parts of a form.
const PARTS: usize = 8;
/// Longest question, in bytes.
const QUESTION: usize = 4 << 10;
/// Room for the question, unknown parts and the lines between parts, besides the photo.
pub(super) const REST: usize = 32 << 10;
/// What is asked when the board asks nothing.
const USUAL: &str = "What is in this picture?";

pub(super) const TOO_LARGE: Refusal =
    Refusal::new("too_large", StatusCode::PAYLOAD_TOO_LARGE, "the photo is too large");
const MALFORMED: Refusal =
    Refusal::new("malformed", StatusCode::BAD_REQUEST, "the form is broken, or ended before its end");
const NO_PHOTO: Refusal = Refusal::new("no_photo", StatusCode::BAD_REQUEST, "the form has no part named file");
const BAD_QUESTION: Refusal =
    Refusal::new("question", StatusCode::BAD_REQUEST, "the question is longer than 4 KB, or no text");
const NO_IMAGE: Refusal =
    Refusal::new("not_an_image", StatusCode::UNSUPPORTED_MEDIA_TYPE, "the file is no JPEG, PNG or WebP image");

/// What a board sent.
#[derive(Debug)]
pub(super) struct Form {
    pub(super) question: String,
    pub(super) picture: Picture,
    pub(super) image: Bytes,
}

/// Reads a form to its end; of each name the first part counts.
pub(super) async fn read(mut parts: Multipart, settings: &Settings) -> Result<Form, Refusal> {
    let (mut question, mut image) = (None, None);
    let (mut count, mut rest) = (0, REST);
    while let Some(part) = parts.next_field().await.map_err(|error| broken(&error))? {
        count += 1;
        if count > PARTS {
            return Err(MALFORMED);
        }
        match part.name() {
            Some("question") if question.is_none() => {
                question = Some(whole(part, QUESTION).await?.ok_or(BAD_QUESTION)?);
            }
            Some("file") if image.is_none() => {
                image = Some(whole(part, settings.size.len()).await?.ok_or(TOO_LARGE)?);
            }
            _ => rest = pass_over(part, rest).await?,
        }
    }
    let image = image.ok_or(NO_PHOTO)?;
    let picture = picture::read(&image).ok_or(NO_IMAGE)?;
    let question = String::from_utf8(question.unwrap_or_default()).map_err(|_| BAD_QUESTION)?;
    let question = if question.trim().is_empty() { USUAL.to_owned() } else { question.trim().to_owned() };
    Ok(Form { question, picture, image: image.into() })
}

/// All of a part; none when it is longer than `most`.
async fn whole(mut part: Field<'_>, most: usize) -> Result<Option<Vec<u8>>, Refusal> {
    let mut all = Vec::new();
    while let Some(piece) = part.chunk().await.map_err(|error| broken(&error))? {
        if all.len() + piece.len() > most {
            return Ok(None);
        }
        all.extend_from_slice(&piece);
    }
    Ok(Some(all))
}

/// Reads a part that nobody wants; gives what is left for others like it.
async fn pass_over(mut part: Field<'_>, mut left: usize) -> Result<usize, Refusal> {
    while let Some(piece) = part.chunk().await.map_err(|error| broken(&error))? {
        left = left.checked_sub(piece.len()).ok_or(TOO_LARGE)?;
    }
    Ok(left)
}

fn broken(error: &MultipartError) -> Refusal {
    if error.status() == StatusCode::PAYLOAD_TOO_LARGE { TOO_LARGE } else { MALFORMED }
}

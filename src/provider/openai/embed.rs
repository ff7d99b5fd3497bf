//! Embeddings.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::Target;
use crate::provider::{Embedder, ErrorKind, ProviderError, Urgency};

/// A model behind `/embeddings`.
#[derive(Debug, Clone)]
pub struct OpenAiEmbedder {
    target: Target,
}

impl OpenAiEmbedder {
    /// A model of `target`.
    pub fn new(target: Target) -> Self {
        Self { target }
    }
}

#[async_trait]
impl Embedder for OpenAiEmbedder {
    async fn embed(&self, texts: Vec<String>, _: Urgency) -> Result<Vec<Vec<f32>>, ProviderError> {
        let target = &self.target;
        let mut request = json!({ "input": texts, "encoding_format": "float" });
        if let Some(model) = &target.model {
            request["model"] = model.as_str().into();
        }
        let url = target.address("embeddings");
        let answer = target.client.post_json(&url, &target.headers, &request, target.patience).await;
        let answer = answer.map_err(|error| target.failure(error))?;
        vectors(&answer, texts.len())
            .ok_or_else(|| target.error(ErrorKind::BadAnswer, "not one vector of one length for each text"))
    }
}

/// The vectors in the order of the texts.
fn vectors(answer: &Value, texts: usize) -> Option<Vec<Vec<f32>>> {
    let data = answer.get("data")?.as_array()?;
    let mut all = vec![Vec::new(); texts];
    for (at, item) in data.iter().enumerate() {
        let index = item.get("index").and_then(Value::as_u64).map_or(Some(at), |index| usize::try_from(index).ok())?;
        let numbers = item.get("embedding")?.as_array()?;
        #[expect(clippy::cast_possible_truncation, reason = "embeddings are f32 that JSON carries as f64")]
        let vector = numbers.iter().map(|n| n.as_f64().map(|n| n as f32)).collect::<Option<Vec<f32>>>()?;
        *all.get_mut(index)? = vector;
    }
    let length = all.first().map_or(0, Vec::len);
    all.iter().all(|vector| vector.len() == length && (length > 0 || texts == 0)).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_come_in_the_order_of_the_texts_or_not_at_all() {
        let item = |index: u64, vector: Value| json!({ "index": index, "embedding": vector });
        let answer = json!({ "data": [item(1, json!([3, 4])), item(0, json!([1.0, 2.0]))] });
        assert_eq!(vectors(&answer, 2), Some(vec![vec![1.0, 2.0], vec![3.0, 4.0]]));
        for bad in [
            json!({ "data": [item(0, json!([1]))] }),
            json!({ "data": [item(0, json!([1])), item(7, json!([1]))] }),
            json!({ "data": [item(0, json!([1])), item(1, json!([1, 2]))] }),
            json!({ "data": [item(0, json!(["x"])), item(1, json!([1]))] }),
            json!({}),
        ] {
            assert_eq!(vectors(&bad, 2), None, "{bad}");
        }
    }
}

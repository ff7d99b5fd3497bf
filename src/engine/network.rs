//! An ONNX network of a model's folder, run by rten on one core a call.
//!
//! What it is given comes from somebody's hub: whatever is wrong with a file is an error that names it, never a panic.
//! It must not know what its numbers mean.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use rten::{Model, NodeId, Value, ValueOrView};
use rten_onnx::onnx::{AttributeProto, AttributeType, GraphProto, ModelProto};

use super::EngineError;
use super::lanes::Lanes;

/// The largest file: above the largest speech models of today, and a wrong file may not fill the memory.
const MOST_BYTES: u64 = 2 << 30;
/// What random numbers begin with, so that the same question always has the same answer.
const SEED: f32 = 0.5;

/// A network that is loaded.
pub struct Network {
    model: Model,
    lanes: Lanes,
    file: PathBuf,
}

impl Network {
    /// Loads a file.
    pub fn load(file: &Path) -> Result<Self, EngineError> {
        let wrong = |what: String| EngineError::Load(format!("{}: {what}", file.display()));
        let length = std::fs::metadata(file).map_err(|e| wrong(e.to_string()))?.len();
        if length > MOST_BYTES {
            return Err(wrong(format!("{length} bytes, and {MOST_BYTES} are read at most")));
        }
        let bytes = std::fs::read(file).map_err(|e| wrong(e.to_string()))?;
        let loaded = guarded(|| {
            let bytes = seeded(bytes)?;
            Model::load(bytes).map_err(|e| e.to_string())
        });
        let model = loaded.map_err(|what| wrong(format!("no ONNX network that can be run here: {what}")))?;
        Ok(Self { model, lanes: Lanes::of_this_machine(), file: file.to_owned() })
    }

    /// An input or output by its name.
    pub fn node(&self, name: &str) -> Result<NodeId, EngineError> {
        self.model.find_node(name).ok_or_else(|| {
            let inputs = self.names(self.model.input_ids());
            self.wrong(&format!("there is no {name}: its inputs are {inputs}"))
        })
    }

    /// It takes an input of this name.
    pub fn takes(&self, name: &str) -> bool {
        self.inputs().any(|input| input == name)
    }

    /// The names of its inputs.
    pub fn inputs(&self) -> impl Iterator<Item = &str> {
        self.model.input_ids().iter().filter_map(|id| self.model.node_info(*id)?.name())
    }

    /// The first of its outputs.
    pub fn output(&self) -> Result<NodeId, EngineError> {
        self.model.output_ids().first().copied().ok_or_else(|| self.wrong("it has no output"))
    }

    /// What its maker wrote beside it.
    pub fn note(&self, key: &str) -> Option<&str> {
        self.model.metadata().get(key)
    }

    /// An error that names the file.
    pub fn wrong(&self, what: &str) -> EngineError {
        EngineError::Load(format!("{}: {what}", self.file.display()))
    }

    /// One answer to these inputs. Blocks; uses one core.
    pub fn run(&self, inputs: Vec<(NodeId, ValueOrView<'_>)>, output: NodeId) -> Result<Value, EngineError> {
        let run = || self.model.run_n(inputs, [output], Some(self.lanes.options())).map_err(|e| e.to_string());
        let [answer] = guarded(run).map_err(|what| self.failed(&what))?;
        Ok(answer)
    }

    /// An error at work.
    pub fn failed(&self, what: &str) -> EngineError {
        let name = self.file.file_name().unwrap_or_default().to_string_lossy();
        EngineError::Failed(format!("{name}: {what}"))
    }

    fn names(&self, ids: &[NodeId]) -> String {
        let names = ids.iter().filter_map(|id| self.model.node_info(*id)?.name());
        names.take(8).collect::<Vec<_>>().join(", ")
    }
}

/// Floats as an input.
pub fn floats<const N: usize>(shape: [usize; N], data: Vec<f32>) -> Result<ValueOrView<'static>, EngineError> {
    Value::from_shape(shape, data).map(Into::into).map_err(|e| EngineError::Failed(e.to_string()))
}

/// Whole numbers as an input (ONNX's 64 bit ones too: rten has none of their width).
pub fn whole<const N: usize>(shape: [usize; N], data: Vec<i32>) -> Result<ValueOrView<'static>, EngineError> {
    Value::from_shape(shape, data).map(Into::into).map_err(|e| EngineError::Failed(e.to_string()))
}

/// A panic of the runtime becomes words.
fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err("it makes the runtime panic".into()))
}

/// The network with a fixed seed in each random operator that has none. The bytes themselves where there is none of them.
fn seeded(bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    let mut model = ModelProto::parse_buf(&bytes).map_err(|e| e.to_string())?;
    if model.graph.as_mut().is_none_or(|graph| seed(graph, 0) == 0) {
        return Ok(bytes);
    }
    drop(bytes);
    model.write_buf().map_err(|e| e.to_string())
}

/// How many operators were changed. Each gets another seed: equal noise in two places is not noise.
fn seed(graph: &mut GraphProto, before: u8) -> u8 {
    let mut changed = before;
    for node in &mut graph.node {
        let random = node.op_type.as_deref().is_some_and(|op| op.starts_with("Random"));
        if random && !node.attribute.iter().any(|a| a.name.as_deref() == Some("seed")) && changed < u8::MAX {
            changed += 1;
            let f = Some(SEED + f32::from(changed));
            let (name, r#type) = (Some("seed".into()), Some(AttributeType::FLOAT));
            node.attribute.push(AttributeProto { name, f, r#type, ..AttributeProto::default() });
        }
    }
    changed
}

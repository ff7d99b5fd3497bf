"""Makes smart_turn.json: what pipecat-ai's own feature extractor and onnxruntime say, to be compared with ours.

    python -m venv v && v/bin/pip install numpy onnxruntime && v/bin/pip download --no-deps pipecat-ai==1.14.0
    unzip pipecat_ai-*.whl 'pipecat/audio/turn/smart_turn/*' && v/bin/python smart_turn.py > smart_turn.json

Needs Debian's pocketsphinx-testdata. Recordings are those of src/audio/testing.rs, in its order.
"""

import json
import sys
import wave

import numpy
import onnxruntime

FOLDER = "pipecat/audio/turn/smart_turn"
sys.path.insert(0, FOLDER)
from _whisper_features import compute_whisper_log_mel_features  # noqa: E402

DATA = "/usr/share/pocketsphinx/test/data"
RATE = 16_000
model = onnxruntime.InferenceSession(f"{FOLDER}/data/smart-turn-v3.2-cpu.onnx")


def wav(path):
    with wave.open(path) as file:
        return numpy.frombuffer(file.readframes(file.getnframes()), numpy.int16)


def features(samples):
    audio = samples[-8 * RATE :].astype(numpy.float32) / 32_768
    return compute_whisper_log_mel_features(numpy.pad(audio, (8 * RATE - len(audio), 0)))


def complete(samples):
    return float(model.run(None, {"input_features": features(samples)[None]})[0].reshape(-1)[0])


clips = [wav(f"{DATA}/librivox/sense_and_sensibility_01_austen_64kb-{n}.wav") for n in ("0870", "0880", "0890", "0920", "0930")]
clips.append(numpy.fromfile(f"{DATA}/goforward.raw", numpy.int16))
t = numpy.arange(48_000) / RATE
chirp = numpy.trunc(numpy.sin(2 * numpy.pi * (200 * t + 600 * t * t)) * 8_000).astype(numpy.int16)
flat = features(chirp).reshape(-1)
places = numpy.random.default_rng(3).choice(len(flat), 400, replace=False)
said = []
for number, clip in enumerate(clips):
    for share in range(3, 13):
        samples = len(clip) * share // 12
        said.append([number, samples, round(complete(clip[:samples]), 4)])
print(json.dumps({"features": [[int(at), round(float(flat[at]), 5)] for at in sorted(places)], "said": said}))

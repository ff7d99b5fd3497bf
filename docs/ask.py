#!/usr/bin/env python3
"""Asks a spoken question: ask.py HOST DEVICE PASSWORD QUESTION.wav (16 kHz, mono, 16 bit; needs paho-mqtt)."""
import json, struct, sys, threading, time, wave
import paho.mqtt.client as mqtt

host, device, password, path = sys.argv[1:5]
frames, spoken = [], threading.Event()

def on_message(_client, _userdata, message):
    if message.topic.endswith("/audio"):
        frames.append(message.payload[16:])  # one Opus packet: 24 kHz, mono, 60 ms
        return
    event = json.loads(message.payload)
    if event["type"] in ("stt", "reply", "error"):
        print(event["type"] + ":", event["payload"])
    if event["type"] == "tts_stop":
        print(f"spoken: {len(frames) * 0.06:.1f} s in {len(frames)} Opus packets")
        spoken.set()

client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=device)
client.username_pw_set(device, password)
client.on_message = on_message
client.connect(host)
client.subscribe(f"device/{device}/down/#")
client.loop_start()
with wave.open(path) as question:
    assert (question.getframerate(), question.getnchannels(), question.getsampwidth()) == (16000, 1, 2)
    pcm = question.readframes(question.getnframes()) + bytes(32000)  # and a second of silence
step = 960 * 2  # 60 ms
for seq, at in enumerate(range(0, len(pcm), step), start=1):
    chunk = pcm[at:at + step]  # magic, version, codec 1 = PCM, flags, sequence, time, length
    client.publish(f"device/{device}/audio", struct.pack(">BBBBIII", 0xA1, 1, 1, 0, seq, seq * 60, len(chunk)) + chunk)
    time.sleep(0.06)
sys.exit(0 if spoken.wait(30) and frames else "no answer")

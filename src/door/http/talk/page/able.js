// What this browser can do, and what to say when it cannot. It knows nothing of the gateway.

export const ENCODING = {
  codec: "opus",
  sampleRate: 16000,
  numberOfChannels: 1,
  bitrate: 24000,
  opus: { application: "voip", frameDuration: 20000, complexity: 5 },
};
export const DECODING = { codec: "opus", sampleRate: 48000, numberOfChannels: 1 };

const NEWER = "Use a current Chrome, Edge, Firefox (130 or newer) or Safari (26 or newer).";

/// Null when it can speak and hear; else why it cannot, as {title, text, steps}.
export async function obstacle() {
  if (!window.isSecureContext) {
    const port = location.port || "80";
    return {
      title: "No microphone on this address",
      text: `This page came in the clear from ${location.hostname}. Browsers give microphone and codec only to pages `
        + "that came over https or from the machine itself. You can type, and the answers are shown as text. To speak:",
      steps: [
        `Bring the gateway's port to this machine: ssh -L ${port}:localhost:${port} ${location.hostname} and then open `
          + `localhost:${port}/talk here, with a new link.`,
        "Or let the gateway speak https: devices.tls = true in its configuration, with the certificate of [mqtt.tls].",
      ],
    };
  }
  if (!window.AudioWorkletNode || !navigator.mediaDevices?.getUserMedia) {
    return { title: "This browser cannot record", text: `It has no way to a microphone for pages. ${NEWER}`, steps: [] };
  }
  if (!window.AudioEncoder || !window.AudioDecoder) {
    return { title: "This browser cannot encode speech", text: `It has no WebCodecs for audio. ${NEWER}`, steps: [] };
  }
  const [up, down] = await Promise.all([
    AudioEncoder.isConfigSupported(ENCODING).catch(() => ({})),
    AudioDecoder.isConfigSupported(DECODING).catch(() => ({})),
  ]);
  if (!up.supported || !down.supported) {
    return { title: "This browser has no Opus", text: `Speech travels as Opus, which it cannot ${up.supported ? "decode" : "encode"}. ${NEWER}`, steps: [] };
  }
  return null;
}

/// Why the microphone was not given.
export function refusal(error) {
  switch (error?.name) {
    case "NotAllowedError":
      return {
        title: "The microphone was refused",
        text: "You, or this browser's settings, said no. You can type all the same. To speak:",
        steps: ["Allow the microphone for this page, at the left of the address, and press the button again."],
      };
    case "NotFoundError":
      return { title: "No microphone was found", text: "Plug one in and press the button again, or type.", steps: [] };
    case "NotReadableError":
      return { title: "The microphone is in use", text: "Another program holds it. Close that and press the button again, or type.", steps: [] };
    default:
      return { title: "The microphone does not work", text: String(error?.message || error), steps: [] };
  }
}

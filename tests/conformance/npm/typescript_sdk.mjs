// The life of one translation through @teamduality/heygen-typescript-sdk (v2); prints what it saw.

import { HeygenSDK } from "@teamduality/heygen-typescript-sdk";

const translations = (key) => new HeygenSDK(key).videos.translation;
const ours = translations(process.env.HEYGEN_API_KEY);

const { languages } = await ours.listLanguages();
const made = await ours.translate({
  video_url: "https://example.com/talk.mp4",
  output_language: languages[1],
  title: "Talk",
});

const seen = [];
do {
  if (seen.length) await new Promise((resolve) => setTimeout(resolve, 200));
  seen.push(await ours.getStatus(made.video_translate_id));
} while (!["success", "failed"].includes(seen.at(-1).status) && seen.length < 100);

const errors = [];
for (const attempt of [
  () => translations("wrong").listLanguages(),
  () => ours.getStatus("none"),
  () => ours.translate({ video_url: "https://example.com/talk.mp4", output_language: "Klingon" }),
]) {
  errors.push(await attempt().then(() => null, (error) => [error.name, error.statusCode, error.message]));
}

console.log(JSON.stringify({ languages, made, seen, errors }));

// Drives a running silo with the official Node client: chat, stream, completion, errors, cancel.
// Usage: node check.mjs BASE_URL MODEL. Prints one JSON line; a failed expectation ends with exit code 1.
import assert from 'node:assert/strict';
import OpenAI from 'openai';

const [baseURL, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: 'none', maxRetries: 1 });
const messages = [{ role: 'user', content: 'How many apples are 2 apples and 3 apples?' }];

const chat = await client.chat.completions.create({ model, messages, max_tokens: 24, temperature: 0 });
assert.equal(chat.object, 'chat.completion');
assert.equal(chat.choices[0].message.role, 'assistant');
assert.ok(['stop', 'length'].includes(chat.choices[0].finish_reason));

let streamed = '';
let finish = null;
let usage = null;
const stream = await client.chat.completions.create({
  model, messages, max_tokens: 24, temperature: 0, stream: true, stream_options: { include_usage: true },
});
for await (const chunk of stream) {
  streamed += chunk.choices[0]?.delta?.content ?? '';
  finish = chunk.choices[0]?.finish_reason ?? finish;
  usage = chunk.usage ?? usage;
}
assert.equal(streamed, chat.choices[0].message.content);
assert.equal(finish, chat.choices[0].finish_reason);
assert.deepEqual(usage.total_tokens, chat.usage.total_tokens);

// The client's own accumulating helper checks the shape of every chunk.
const helped = await client.chat.completions.stream({ model, messages, max_tokens: 24, temperature: 0 }).finalChatCompletion();
assert.equal(helped.choices[0].message.content, chat.choices[0].message.content);

const completion = await client.completions.create({ model, prompt: ['One', 'Two'], max_tokens: 4, logprobs: 2, n: 2, seed: 3 });
assert.equal(completion.choices.length, 4);
assert.equal(completion.choices[0].logprobs.tokens.length, completion.choices[0].logprobs.token_logprobs.length);

const listed = await client.models.list();
assert.ok(listed.data.some((entry) => entry.id === model));

await assert.rejects(client.chat.completions.create({ model: 'nope', messages }), (error) => error instanceof OpenAI.NotFoundError && error.code === 'model_not_found');
await assert.rejects(client.chat.completions.create({ model, messages, temperature: 3 }), (error) => error instanceof OpenAI.BadRequestError && error.param === 'temperature');

const cancelled = await client.chat.completions.create({ model, messages, max_tokens: 900, stream: true, ignore_eos: true });
let events = 0;
for await (const _ of cancelled) {
  if (++events === 5) break;
}
assert.equal(events, 5);

console.log(JSON.stringify({ text: streamed, finish, usage }));

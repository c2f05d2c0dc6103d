// The Vercel ai SDK at the gateway: prints as JSON what it made of the answers. Arguments: base URL, model, what to do.
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { embedMany, generateText, jsonSchema, Output, stepCountIs, streamText, tool } from 'ai';

const [baseURL, name, what] = process.argv.slice(2);
const provider = createOpenAICompatible({ name: 'polychat', baseURL, apiKey: process.env.KEY, includeUsage: true, supportsStructuredOutputs: true });
const model = provider(name);
const weather = tool({
  description: 'The weather',
  inputSchema: jsonSchema({ type: 'object', properties: { city: { type: 'string' } }, required: ['city'], additionalProperties: false }),
  execute: async ({ city }) => `${city}: rain`,
});
const now = tool({ description: 'The time', inputSchema: jsonSchema({ type: 'object', properties: {}, additionalProperties: false }), execute: async () => '7' });
const asked = { model, prompt: 'hi', maxRetries: 0 };
const quiet = { onError: () => {} };

const doings = {
  async whole() {
    const { text, finishReason, usage } = await generateText(asked);
    return { text, finishReason, usage };
  },
  async stream() {
    const result = streamText({ ...asked, ...quiet });
    const pieces = [];
    for await (const piece of result.textStream) pieces.push(piece);
    return { pieces, finishReason: await result.finishReason, usage: await result.usage };
  },
  async tools() {
    const result = streamText({ ...asked, ...quiet, tools: { weather, now }, stopWhen: stepCountIs(2) });
    for await (const _ of result.textStream);
    const steps = await result.steps;
    return { calls: steps[0].toolCalls.map(({ toolName, input }) => [toolName, input]), results: steps[0].toolResults.map(({ output }) => output), steps: steps.length, finishReason: steps[0].finishReason };
  },
  async object() {
    const schema = jsonSchema({ type: 'object', properties: { name: { type: 'string' }, people: { type: 'number' } }, required: ['name', 'people'], additionalProperties: false });
    const { output } = await generateText({ ...asked, output: Output.object({ schema, name: 'city' }) });
    return output;
  },
  async embed() {
    const { embeddings } = await embedMany({ model: provider.embeddingModel(name), values: ['a', 'b'], maxRetries: 0 });
    return embeddings;
  },
  async failing() {
    const result = streamText({ ...asked, ...quiet });
    const parts = [];
    for await (const part of result.fullStream) parts.push(part.type === 'error' ? ['error', String(part.error?.message ?? part.error)] : part.type === 'text-delta' ? ['text', part.text] : part.type === 'finish' ? ['finish', part.finishReason] : null);
    return parts.filter(Boolean);
  },
};

try {
  console.log(JSON.stringify(await doings[what]()));
} catch (error) {
  console.log(JSON.stringify({ error: error.name, status: error.statusCode, message: error.message, retryable: error.isRetryable }));
}

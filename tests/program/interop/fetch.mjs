// Asks with node's fetch: fetch.mjs URL PARALLEL COUNT. Prints the status or the error of each answer.

const [url, parallel, count] = process.argv.slice(2);

async function ask() {
  try {
    const answer = await fetch(url);
    await answer.arrayBuffer();
    return answer.status;
  } catch (error) {
    return `${error}: ${error.cause}`;
  }
}

let left = Number(count);
async function askOn() {
  while (left-- > 0) console.log(await ask());
}
await Promise.all(Array.from({ length: Number(parallel) }, askOn));

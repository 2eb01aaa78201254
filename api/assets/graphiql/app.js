// GraphiQL with a key of the user's, and subscriptions as server-sent events over fetch (EventSource cannot send a key).
"use strict";
(() => {
  const ENDPOINT = "/graphql";
  const keyInput = document.getElementById("key");
  const keepInput = document.getElementById("keep");
  const who = document.getElementById("who");

  keyInput.value = sessionStorage.getItem("slipway.key") || "";
  keepInput.checked = keyInput.value !== "";

  const headers = (accept) => {
    const all = { "content-type": "application/json", accept };
    if (keyInput.value.trim()) all.authorization = "Bearer " + keyInput.value.trim();
    return all;
  };

  // By the text: the editor's own reading of it lags behind.
  const isSubscription = ({ query, operationName }) => {
    const bare = query.replace(/"""[^]*?"""|"(\\.|[^"\\\n])*"|#.*/g, " ");
    return operationName
      ? new RegExp("\\bsubscription\\s+" + operationName + "\\b").test(bare)
      : /^[\s,]*subscription\b/.test(bare);
  };

  const once = async (params) => {
    const response = await fetch(ENDPOINT, { method: "POST", headers: headers("application/json"), body: JSON.stringify(params) });
    return response.json();
  };

  // One event of the stream, or null for a comment.
  const readEvent = (block) => {
    let name = "message";
    const data = [];
    for (const line of block.split("\n")) {
      if (line.startsWith("event:")) name = line.slice(6).trim();
      else if (line.startsWith("data:")) data.push(line.slice(5).trimStart());
    }
    return data.length || name !== "message" ? { name, data: data.join("\n") } : null;
  };

  async function* events(params) {
    const stop = new AbortController();
    try {
      const response = await fetch(ENDPOINT, {
        method: "POST",
        headers: headers("text/event-stream"),
        body: JSON.stringify(params),
        signal: stop.signal,
      });
      if (!response.ok) {
        yield await response.json();
        return;
      }
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        rest += value;
        let end;
        while ((end = rest.indexOf("\n\n")) >= 0) {
          const event = readEvent(rest.slice(0, end));
          rest = rest.slice(end + 2);
          if (event && event.name === "complete") return;
          if (event && event.name === "next") yield JSON.parse(event.data);
        }
      }
    } finally {
      stop.abort();
    }
  }

  const fetcher = (params) => (isSubscription(params) ? events(params) : once(params));

  const root = ReactDOM.createRoot(document.getElementById("graphiql"));
  let generation = 0;
  const render = async () => {
    if (keepInput.checked) sessionStorage.setItem("slipway.key", keyInput.value.trim());
    else sessionStorage.removeItem("slipway.key");
    generation += 1;
    const mine = generation;
    if (!keyInput.value.trim()) {
      root.render(null);
      who.textContent = "Enter a key to begin.";
      return;
    }
    root.render(React.createElement(GraphiQL, {
      key: mine,
      fetcher,
      shouldPersistHeaders: false,
      isHeadersEditorEnabled: false,
      defaultQuery: "# Ctrl-Space completes, Ctrl-Enter runs. The schema is behind the book on the left.\n\n{\n  __typename\n}\n",
    }));
    try {
      const answer = await once({ query: "{ __typename }" });
      if (mine === generation) who.textContent = answer.data ? "The key is good." : answer.errors[0].message;
    } catch (error) {
      if (mine === generation) who.textContent = "No answer: " + error.message;
    }
  };

  document.getElementById("bar").addEventListener("submit", (event) => event.preventDefault());
  keyInput.addEventListener("change", render);
  keepInput.addEventListener("change", render);
  render();
})();

// Who asks: a form when the server wants to know, and the answer in memory of this tab alone.

import { byId, element, say } from "/console/page.js";

const KEY = "polder.authorization";

export const authorization = () => sessionStorage.getItem(KEY);

export function logOut() {
  sessionStorage.removeItem(KEY);
  location.reload();
}

let asking = null;

/** Resolves once there is something to send that was not refused yet. */
export function logIn(challenge, refused) {
  if (authorization() !== refused) return Promise.resolve();
  asking ??= form(challenge, refused !== null).finally(() => (asking = null));
  return asking;
}

function form(challenge, wasRefused) {
  const dialog = byId("login");
  const user = element("input", { id: "login-user", autocomplete: "username", autocapitalize: "off", spellcheck: "false" });
  const secret = element("input", { id: "login-secret", type: "password", autocomplete: "current-password", required: true });
  const wantsToken = /bearer/i.test(challenge) && !/basic/i.test(challenge);
  return new Promise((resolve) => {
    const send = (event) => {
      event.preventDefault();
      sessionStorage.setItem(KEY, header(wantsToken ? "" : user.value, secret.value));
      byId("log-out").hidden = false;
      dialog.close();
      resolve();
    };
    dialog.oncancel = (event) => event.preventDefault();
    dialog.replaceChildren(
      element(
        "form",
        { onsubmit: send },
        element("h2", { id: "login-title" }, "Log in"),
        wasRefused ? element("p", { class: "refused", role: "alert" }, "The server refused this login.") : null,
        wantsToken ? null : element("label", {}, "User", user),
        element("label", {}, wantsToken ? "Token" : "Password, or a token without a user", secret),
        element("button", { class: "primary" }, "Log in"),
      ),
    );
    say("The server asks for a login");
    dialog.showModal();
  });
}

function header(user, secret) {
  if (user === "") return `Bearer ${secret}`;
  const bytes = new TextEncoder().encode(`${user}:${secret}`);
  return `Basic ${btoa(String.fromCharCode(...bytes))}`;
}

export function offerLogOut() {
  byId("log-out").hidden = authorization() === null;
  byId("log-out").addEventListener("click", logOut);
}

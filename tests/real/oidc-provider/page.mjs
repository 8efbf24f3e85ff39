// The pages of the provider of the tests: where people sign in, and where they allow a program to act for them.

function page(title, form) {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>${title}</title>
<style>
  body { font: 16px sans-serif; display: grid; place-content: center; min-height: 90vh }
  label, input, button { display: block; font: inherit; margin: .4em 0 }
</style>
<form method="post">
  <h1>${title}</h1>
${form}</form>
</html>
`;
}

/** Where people sign in, with what went wrong before. */
export function signInPage(wrong) {
  return page('Sign in', `\
  <p role="alert">${wrong}</p>
  <label>Name <input name="username" autocomplete="off" autofocus></label>
  <label>Password <input name="password" type="password"></label>
  <button>Sign in</button>
`);
}

/** Where people allow a program to act for them. */
export function consentPage(client) {
  return page('Allow it?', `\
  <p>${client} asks to act for you.</p>
  <button name="answer" value="allow">Allow</button>
  <button name="answer" value="deny">Deny</button>
`);
}

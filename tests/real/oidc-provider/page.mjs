// The page where people sign in at the provider of the tests.

/** The page, with what went wrong before. */
export function signInPage(wrong) {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Sign in</title>
<style>
  body { font: 16px sans-serif; display: grid; place-content: center; min-height: 90vh }
  label, input, button { display: block; font: inherit; margin: .4em 0 }
</style>
<form method="post">
  <h1>Sign in</h1>
  <p role="alert">${wrong}</p>
  <label>Name <input name="username" autocomplete="off" autofocus></label>
  <label>Password <input name="password" type="password"></label>
  <button>Sign in</button>
</form>
</html>
`;
}

// An OpenID provider that nobody here wrote (npm oidc-provider), with the people, clients and scopes of the tests.
//
//   node provider.mjs --issuer URL --listen ADDRESS:PORT --cert FILE --key FILE --keys FILE --control PORT
//
// Its signing keys are kept in the file --keys, so that one that was killed comes back with the same. On 127.0.0.1 at the
// port --control it is told what no standard has a call for (POST /rotate, POST /withdraw) and says how often it was
// asked (GET /counts). "ready" on standard output: it listens.

import { generateKeyPairSync } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync, renameSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { parseArgs } from 'node:util';

import { Provider, errors } from 'oidc-provider';

import { consentPage, signInPage } from './page.mjs';

const PEOPLE = {
  alice: { name: 'Alice', email: 'alice@example.com', groups: ['gateway-admins', 'everybody'] },
  bob: { name: 'Bob', email: 'bob@example.com', groups: ['gateway-users', 'everybody'] },
  carol: { name: 'Carol', email: 'carol@example.com', groups: ['everybody'] },
};
// Everybody's password is their name with this behind it.
const PASSWORD = '-password';
const SCOPES = ['credential:read', 'sandbox:read', 'sandbox:write', 'portcullis:all'];
// The gateway, as the provider knows it: what tokens are for, and what they call it.
const RESOURCE = 'urn:portcullis';
const AUDIENCE = 'portcullis';

const options = parseArgs({
  options: Object.fromEntries(
    ['issuer', 'listen', 'cert', 'key', 'keys', 'control'].map((name) => [name, { type: 'string' }]),
  ),
}).values;

const counts = { discovery: 0, jwks: 0 };
let keys = existsSync(options.keys) ? JSON.parse(readFileSync(options.keys, 'utf8')) : newKeys();
let provider = providerWith(keys);

/** A key for access tokens and one for ID tokens, which mod_auth_openidc wants signed by RSA. */
function newKeys() {
  const made = [
    generateKeyPairSync('ec', { namedCurve: 'P-256' }),
    generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ].map(({ privateKey }, at) => ({
    ...privateKey.export({ format: 'jwk' }),
    kid: `${at === 0 ? 'ec' : 'rsa'}-${Date.now()}`,
    use: 'sig',
    alg: at === 0 ? 'ES256' : 'RS256',
  }));
  return kept(made);
}

function kept(some) {
  writeFileSync(`${options.keys}.half`, JSON.stringify(some), { mode: 0o600 });
  renameSync(`${options.keys}.half`, options.keys);
  return some;
}

/** The first key of its kind signs; sessions, grants and clients are the process's own and outlive the keys. */
function providerWith(jwks) {
  const made = new Provider(options.issuer, {
    jwks: { keys: jwks },
    clients: [
      {
        client_id: 'portcullis-cli',
        token_endpoint_auth_method: 'none',
        grant_types: [
          'authorization_code',
          'refresh_token',
          'password',
          'urn:ietf:params:oauth:grant-type:device_code',
        ],
        redirect_uris: ['http://127.0.0.1/callback'],
        application_type: 'native',
      },
      {
        client_id: 'portcullis-ci',
        client_secret: 'ci-secret-of-the-tests',
        grant_types: ['client_credentials'],
        response_types: [],
        redirect_uris: [],
      },
    ],
    cookies: { keys: ['of the tests'] },
    scopes: ['openid', 'offline_access', ...SCOPES],
    claims: { openid: ['sub', 'groups'], profile: ['name'], email: ['email'] },
    // People's groups stand in the ID token itself: the edge hands on that and nothing else.
    conformIdTokenClaims: false,
    findAccount: (_ctx, id) =>
      PEOPLE[id] && { accountId: id, claims: () => ({ sub: id, email_verified: true, ...PEOPLE[id] }) },
    extraTokenClaims: (_ctx, token) => ({
      // A machine has no groups of its own: the one of CI is a user here.
      groups: token.accountId ? PEOPLE[token.accountId].groups : ['gateway-users'],
      ...(token.accountId && { email: PEOPLE[token.accountId].email }),
      // Scopes once more, as a list.
      scp: (token.scope ?? '').split(' ').filter(Boolean),
    }),
    // A command line is logged in for as long as its refresh token is; each of those is good once.
    issueRefreshToken: (_ctx, client) => client.grantTypeAllowed('refresh_token'),
    extraClientMetadata: { properties: ['id_token_seconds'] },
    ttl: {
      IdToken: (_ctx, _token, client) => client.id_token_seconds ?? 3600,
      AccessToken: (ctx) => Number(ctx.oidc.params.lifetime ?? 3600),
      ClientCredentials: () => 3600,
      Interaction: () => 600,
      Session: () => 3600,
      RefreshToken: () => 3600,
      DeviceCode: () => 600,
      Grant: () => 3600,
    },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      deviceFlow: { enabled: true },
      revocation: { enabled: true },
      registration: { enabled: true },
      resourceIndicators: {
        enabled: true,
        // An edge logs people in and wants no access token for the gateway.
        defaultResource: (_ctx, client) => (client.clientId.startsWith('portcullis-') ? RESOURCE : undefined),
        useGrantedResource: () => true,
        getResourceServerInfo: (_ctx, resource) => {
          if (resource !== RESOURCE) throw new errors.InvalidTarget();
          return {
            scope: SCOPES.join(' '),
            audience: AUDIENCE,
            accessTokenFormat: 'jwt',
            jwt: { sign: { alg: 'ES256' } },
          };
        },
      },
    },
    interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
    // Programs must ask people each time; what they ask for is granted whole.
    loadExistingGrant: async (ctx) => {
      const grant = new ctx.oidc.provider.Grant({
        clientId: ctx.oidc.client.clientId,
        accountId: ctx.oidc.session.accountId,
      });
      grant.addOIDCScope([...ctx.oidc.requestParamScopes].join(' '));
      grant.addResourceScope(RESOURCE, SCOPES.join(' '));
      await grant.save();
      return grant;
    },
  });
  made.registerGrantType('password', passwordGrant, ['username', 'password', 'scope', 'lifetime']);
  made.use(countAsked);
  return made;
}

/** Tests get people's access tokens by it; the browser's way is walked by the tests of the edge. */
async function passwordGrant(ctx) {
  const { client, params } = ctx.oidc;
  if (!PEOPLE[params.username] || params.password !== params.username + PASSWORD) {
    throw new errors.InvalidGrant('nobody has this name and password');
  }
  const asked = (params.scope ?? '').split(' ').filter((scope) => SCOPES.includes(scope)).join(' ');
  const grant = new ctx.oidc.provider.Grant({ clientId: client.clientId, accountId: params.username });
  grant.addResourceScope(RESOURCE, asked);
  const token = new ctx.oidc.provider.AccessToken({
    accountId: params.username,
    client,
    grantId: await grant.save(),
    gty: 'password',
    scope: asked || undefined,
  });
  token.resourceServer = new ctx.oidc.provider.ResourceServer(
    RESOURCE,
    { scope: SCOPES.join(' '), audience: AUDIENCE, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } } },
  );
  ctx.oidc.entity('AccessToken', token);
  const value = await token.save();
  ctx.body = { access_token: value, expires_in: token.expiration, token_type: 'Bearer', scope: token.scope };
}

async function countAsked(ctx, next) {
  if (ctx.path === '/.well-known/openid-configuration') counts.discovery += 1;
  if (ctx.path === '/jwks') counts.jwks += 1;
  await next();
}

async function bodyOf(request) {
  const parts = [];
  for await (const part of request) parts.push(part);
  return Buffer.concat(parts).toString();
}

/** The pages where people sign in, and where they allow a program to act for them. */
async function interact(request, response) {
  const { prompt, params } = await provider.interactionDetails(request, response);
  if (prompt.name === 'consent') {
    if (request.method !== 'POST') {
      response.setHeader('content-type', 'text/html; charset=utf-8').end(consentPage(params.client_id));
      return;
    }
    const allowed = new URLSearchParams(await bodyOf(request)).get('answer') === 'allow';
    const denied = { error: 'access_denied', error_description: 'the person said no' };
    const result = allowed ? { consent: {} } : denied;
    await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: allowed });
    return;
  }
  if (prompt.name !== 'login') throw new Error(`nobody answers the prompt ${prompt.name}`);
  if (request.method !== 'POST') {
    response.setHeader('content-type', 'text/html; charset=utf-8').end(signInPage(''));
    return;
  }
  const form = new URLSearchParams(await bodyOf(request));
  const who = form.get('username');
  if (!PEOPLE[who] || form.get('password') !== who + PASSWORD) {
    response.setHeader('content-type', 'text/html; charset=utf-8').end(signInPage('Wrong name or password.'));
    return;
  }
  await provider.interactionFinished(request, response, { login: { accountId: who } });
}

const files = { cert: readFileSync(options.cert), key: readFileSync(options.key) };
const server = https.createServer(files, (request, response) => {
  const answered = request.url.startsWith('/interaction/')
    ? interact(request, response)
    : provider.callback()(request, response);
  answered.catch((error) => {
    console.error(error);
    if (!response.headersSent) response.writeHead(500);
    response.end();
  });
});

const control = http.createServer((request, response) => {
  const say = (what) => response.setHeader('content-type', 'application/json').end(JSON.stringify(what));
  if (request.method === 'POST' && request.url === '/rotate') {
    // The new keys sign from now on; the old ones are shown still, for what they have signed.
    keys = kept([...newKeys(), ...keys]);
    provider = providerWith(keys);
    say({ signs: keys[0].kid, shown: keys.map((key) => key.kid) });
  } else if (request.method === 'POST' && request.url === '/withdraw') {
    keys = kept(keys.slice(0, 2));
    provider = providerWith(keys);
    say({ signs: keys[0].kid, shown: keys.map((key) => key.kid) });
  } else if (request.url === '/counts') {
    say(counts);
  } else {
    response.writeHead(404).end();
  }
});

const [address, port] = options.listen.split(':');
server.listen(Number(port), address, () => {
  control.listen(Number(options.control), '127.0.0.1', () => console.log('ready'));
});

// A provider of OpenID Connect, with oidc-provider: one client for pages, one for a program, whoever signs in is known.
// node provider.mjs PORT REDIRECT_URI AUDIENCE
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

// the packages lie in an environment, not beside this file
const require = createRequire(path.join(process.env.NODE_FOLDER, 'package.json'));
const { default: Provider } = await import(pathToFileURL(require.resolve('oidc-provider')));

const [port, redirectUri, audience] = process.argv.slice(2);
const roles = { olga: ['operator'], ute: ['user', 'of another service'], program: ['user'] };
const issuer = `http://127.0.0.1:${port}`;
const provider = new Provider(issuer, {
  clients: [
    {
      client_id: 'pages',
      redirect_uris: [redirectUri],
      response_types: ['code'],
      grant_types: ['authorization_code'],
      token_endpoint_auth_method: 'none',
    },
    { client_id: 'program', client_secret: 'of-a-test', redirect_uris: [], response_types: [], grant_types: ['client_credentials'] },
  ],
  claims: { openid: ['sub', 'roles'], profile: ['preferred_username'] },
  conformIdTokenClaims: false, // claims stand in the token that says who signed in
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, preferred_username: `${id}@example.org`, roles: roles[id] }),
  }),
  features: {
    devInteractions: { enabled: true },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: (_, client) => (client.clientId === 'program' ? audience : undefined),
      getResourceServerInfo: () => ({ scope: '', audience, accessTokenFormat: 'jwt' }),
      useGrantedResource: () => true,
    },
  },
  extraTokenClaims: (_, token) => ({ roles: roles[token.clientId] }),
});
provider.listen(Number(port), '127.0.0.1', () => console.log('ready'));

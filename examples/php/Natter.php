<?php

declare(strict_types=1);

/**
 * What a site needs of Natter: signs its members in with a token of its own,
 * keeps their sessions alive, asks and streams. Needs ext-curl and
 * ext-openssl, and nothing else.
 *
 * The member's browser never sees any of these tokens: they stay with the
 * site, in the array that tokens() gives (the member's PHP session keeps it).
 */
final class Natter
{
    /** Codes after which a session is over: sign in anew. */
    private const OVER = ['token_invalid', 'session_revoked', 'refresh_invalid',
        'refresh_expired', 'refresh_reused'];

    /** The member whom enter() was told. @var array<string, string>|null */
    private ?array $member = null;

    /** How long a token of ours is good, in seconds: it is used at once. */
    private const IDENTITY_TTL = 60;

    /** @param array<string, mixed> $settings as config.php returns them
     *  @param array<string, mixed>|null $tokens what tokens() gave before */
    public function __construct(
        private readonly array $settings,
        private ?array $tokens = null,
    ) {
    }

    /** To be kept with the member's session. @return array<string, mixed>|null */
    public function tokens(): ?array
    {
        return $this->tokens;
    }

    /**
     * Signs a member in: a token of the site, good for a minute, becomes a
     * session of Natter's. `$member` has `id` (never changes, never given to
     * somebody else), and may have `username` and `name`.
     *
     * @param array{id: string, username?: string, name?: string} $member
     */
    public function signIn(array $member): void
    {
        $this->keep($this->call('POST', 'auth/exchange', [
            'token' => $this->identity($member),
            'device' => $this->settings['site'],
        ]));
    }

    /**
     * Makes sure of a session: the one that there is, refreshed when it is
     * time to, or a new one.
     *
     * @param array{id: string, username?: string, name?: string} $member
     */
    public function enter(array $member): void
    {
        if ($this->tokens === null || ($this->tokens['member'] ?? null) !== $member['id']) {
            $this->signIn($member);
        } elseif (time() >= $this->tokens['refresh_at']) {
            try {
                $this->keep($this->call('POST', 'auth/refresh', [
                    'refresh_token' => $this->tokens['refresh_token'],
                ]));
            } catch (NatterProblem $problem) {
                if (!in_array($problem->problem, self::OVER, true)) {
                    throw $problem; // busy, away: the session is as it was
                }
                $this->signIn($member);
            }
        }
        $this->tokens['member'] = $member['id'];
        $this->member = $member;
    }

    /** Ends the session. */
    public function signOut(): void
    {
        if ($this->tokens !== null) {
            $this->call('POST', 'auth/logout', ['scope' => 'this'], $this->bearer());
            $this->tokens = null;
        }
    }

    /** Begins a conversation, in the store of the settings, and gives its id. */
    public function converse(): string
    {
        $where = array_filter(['store_id' => $this->settings['store'] ?? null]);
        return $this->signedIn(
            fn () => $this->call('POST', 'conversations', $where, $this->bearer()))['id'];
    }

    /**
     * Asks, gives each piece of the reply to `$onText` as it comes, and returns
     * the stored message. A stream that is cut ends as the message does.
     *
     * @param callable(string): void $onText
     * @return array<string, mixed>
     */
    public function ask(string $conversation, string $question, callable $onText): array
    {
        $id = $done = $failed = null;
        $onEvent = function (string $event, array $data) use (&$id, &$done, &$failed, $onText): void {
            match ($event) {
                'start' => $id = $data['message_id'],
                'delta' => $onText($data['text']),
                'done' => $done = $data,
                'error' => $failed = $data,
                default => null,
            };
        };
        $this->signedIn(fn () => $this->stream("conversations/$conversation/messages",
            ['content' => $question, 'stream' => true], $onEvent));
        if ($failed !== null) {
            throw new NatterProblem($failed);
        }
        while ($done === null) {
            if ($id === null) {
                throw new NatterProblem(['code' => 'no_answer', 'status' => 0]);
            }
            $message = $this->signedIn(
                fn () => $this->call('GET', "messages/$id", null, $this->bearer()));
            if ($message['status'] !== 'streaming') {
                return $message;
            }
            sleep(1);
        }
        return $done;
    }

    /**
     * Calls, and once more in a new session when the old one was ended meanwhile
     * (by an administrator, say): a 401 says that nothing was done.
     */
    private function signedIn(callable $call): mixed
    {
        try {
            return $call();
        } catch (NatterProblem $problem) {
            $isOver = $problem->problem === 'token_expired'
                || in_array($problem->problem, self::OVER, true);
            if (!$isOver || $this->member === null) {
                throw $problem;
            }
            $this->tokens = null;
            $this->enter($this->member);
            return $call();
        }
    }

    /**
     * The site's word for who the member is: a JWT under RS256.
     *
     * @param array{id: string, username?: string, name?: string} $member
     */
    private function identity(array $member): string
    {
        $key = openssl_pkey_get_private('file://' . $this->settings['key_file']);
        if ($key === false) {
            throw new RuntimeException('the key file cannot be read: run make-keys.php');
        }
        $now = time();
        $header = ['alg' => 'RS256', 'typ' => 'JWT', 'kid' => self::kid($key)];
        $claims = array_filter([
            'iss' => $this->settings['issuer'],
            'aud' => $this->settings['audience'],
            'sub' => $member['id'],
            'iat' => $now,
            'exp' => $now + self::IDENTITY_TTL,
            'preferred_username' => $member['username'] ?? null,
            'name' => $member['name'] ?? null,
        ], static fn ($claim) => $claim !== null);
        $text = self::base64url(self::json($header)) . '.' . self::base64url(self::json($claims));
        if (!openssl_sign($text, $signature, $key, OPENSSL_ALGO_SHA256)) {
            throw new RuntimeException('the key does not sign');
        }
        return $text . '.' . self::base64url($signature);
    }

    /** The public half as a JWK. @return array<string, string> */
    public static function jwk(OpenSSLAsymmetricKey $key): array
    {
        $rsa = openssl_pkey_get_details($key)['rsa'];
        return ['kty' => 'RSA', 'use' => 'sig', 'alg' => 'RS256', 'kid' => self::kid($key),
            'n' => self::base64url($rsa['n']), 'e' => self::base64url($rsa['e'])];
    }

    /** The key's name: its thumbprint (RFC 7638), so that a new key has a new one. */
    private static function kid(OpenSSLAsymmetricKey $key): string
    {
        $rsa = openssl_pkey_get_details($key)['rsa'];
        return self::base64url(hash('sha256', self::json(['e' => self::base64url($rsa['e']),
            'kty' => 'RSA', 'n' => self::base64url($rsa['n'])]), true));
    }

    /** @param array<string, mixed> $answer of exchange and refresh */
    private function keep(array $answer): void
    {
        $this->tokens = [
            'access_token' => $answer['access_token'],
            'refresh_token' => $answer['refresh_token'],
            'refresh_at' => time() + $answer['refresh_in'],
            'user_id' => $answer['user']['id'],
            'username' => $answer['user']['username'],
        ];
    }

    /** @return list<string> */
    private function bearer(): array
    {
        return ["Authorization: Bearer {$this->tokens['access_token']}"];
    }

    /**
     * @param array<string, mixed>|null $body
     * @param list<string> $headers
     * @return array<string, mixed>
     */
    private function call(string $method, string $path, ?array $body, array $headers = []): array
    {
        $curl = $this->request($path, $body, $headers);
        curl_setopt_array($curl, [CURLOPT_CUSTOMREQUEST => $method, CURLOPT_RETURNTRANSFER => true,
            CURLOPT_TIMEOUT => 30]);
        $text = curl_exec($curl);
        $status = curl_getinfo($curl, CURLINFO_RESPONSE_CODE);
        $answer = is_string($text) ? json_decode($text, true) : null;
        if ($status < 200 || $status > 299) {
            throw new NatterProblem(is_array($answer) ? $answer
                : ['code' => 'no_answer', 'status' => $status, 'detail' => curl_error($curl)]);
        }
        return $answer ?? [];
    }

    /**
     * @param array<string, mixed> $body
     * @param callable(string, array<string, mixed>): void $onEvent
     */
    private function stream(string $path, array $body, callable $onEvent): void
    {
        $rest = '';
        $curl = $this->request($path, $body, $this->bearer());
        curl_setopt_array($curl, [
            // A comment comes every 15 s: 40 s without a byte mean trouble.
            CURLOPT_LOW_SPEED_LIMIT => 1,
            CURLOPT_LOW_SPEED_TIME => 40,
            CURLOPT_WRITEFUNCTION => function ($curl, string $piece) use (&$rest, $onEvent): int {
                $rest .= $piece;
                if (curl_getinfo($curl, CURLINFO_RESPONSE_CODE) === 200) {
                    $rest = self::events($rest, $onEvent);
                }
                return strlen($piece);
            },
        ]);
        curl_exec($curl);
        $status = curl_getinfo($curl, CURLINFO_RESPONSE_CODE);
        if ($status !== 200) {
            throw new NatterProblem(json_decode($rest, true)
                ?? ['code' => 'no_answer', 'status' => $status, 'detail' => curl_error($curl)]);
        }
    }

    /**
     * Gives the whole events of `$text` to `$onEvent` and returns the rest.
     *
     * @param callable(string, array<string, mixed>): void $onEvent
     */
    private static function events(string $text, callable $onEvent): string
    {
        while (($end = strpos($text, "\n\n")) !== false) {
            $event = substr($text, 0, $end);
            $text = substr($text, $end + 2);
            if (preg_match('/^event: (.*)$/m', $event, $name)
                && preg_match('/^data: (.*)$/m', $event, $data)) {
                $onEvent($name[1], json_decode($data[1], true, flags: JSON_THROW_ON_ERROR));
            }
        }
        return $text;
    }

    /**
     * @param array<string, mixed>|null $body
     * @param list<string> $headers
     */
    private function request(string $path, ?array $body, array $headers): CurlHandle
    {
        $curl = curl_init("{$this->settings['natter']}/api/v1/$path");
        $headers[] = 'X-Natter-Device: ' . $this->settings['site'];
        if ($body !== null) {
            $headers[] = 'Content-Type: application/json';
            curl_setopt($curl, CURLOPT_POSTFIELDS, self::json((object) $body));
        }
        curl_setopt_array($curl, [CURLOPT_HTTPHEADER => $headers, CURLOPT_CONNECTTIMEOUT => 5]);
        return $curl;
    }

    /** @param array<string, mixed>|object $value */
    private static function json(array|object $value): string
    {
        return json_encode($value, JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES);
    }

    private static function base64url(string $bytes): string
    {
        return rtrim(strtr(base64_encode($bytes), '+/', '-_'), '=');
    }
}

/** A problem document of Natter's, or the lack of an answer (`no_answer`). */
final class NatterProblem extends RuntimeException
{
    public readonly string $problem;

    /** @param array<string, mixed> $document */
    public function __construct(array $document)
    {
        $this->problem = (string) ($document['code'] ?? 'no_answer');
        parent::__construct("$this->problem: " . ($document['detail'] ?? ''),
            (int) ($document['status'] ?? 0));
    }
}

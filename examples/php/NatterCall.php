<?php

declare(strict_types=1);

/**
 * A call of one of the site's tools by Natter: copy this file. receive() gives
 * the call, or has answered already: nobody but Natter gets any further, and
 * nobody twice. Needs no extension.
 */
final class NatterCall
{
    /** How far Natter's clock and ours may be apart, in seconds. */
    private const WINDOW = 300;

    /** More than any call of Natter's has, in bytes. */
    private const BODY_MAX = 262144;

    /** @param array<string, mixed> $arguments as the tool's schema has them
     *  @param array{id: string, issuer: ?string, external_id: ?string, username: string} $user
     *      who asks: `external_id` is the site's own member, if `issuer` is the site
     *  @param string $id of this very call: whoever books something keeps it */
    private function __construct(
        public readonly string $tool,
        public readonly array $arguments,
        public readonly array $user,
        public readonly string $id,
    ) {
    }

    /**
     * The call that this request is. Anything else is answered here, and that
     * is the end of the script.
     *
     * @param list<string> $secrets the tool's; two while it is being changed
     * @param string $folder where calls are remembered; not under the web root
     */
    public static function receive(array $secrets, string $folder): self
    {
        if (($_SERVER['REQUEST_METHOD'] ?? '') !== 'POST') {
            header('Allow: POST');
            self::answer(405, ['error' => 'POST alone']);
        }
        $body = file_get_contents('php://input', false, null, 0, self::BODY_MAX + 1);
        $time = $_SERVER['HTTP_NATTER_TIMESTAMP'] ?? '';
        $signature = $_SERVER['HTTP_NATTER_SIGNATURE'] ?? '';
        if (!is_string($body) || strlen($body) > self::BODY_MAX) {
            self::answer(413, ['error' => 'too large']);
        }
        // The signature first: what is not Natter's is not looked at.
        if (!self::isSigned($secrets, $time, $signature, $body)) {
            self::answer(401, ['error' => 'not signed by Natter']);
        }
        if (abs(time() - (int) $time) > self::WINDOW) {
            self::answer(401, ['error' => 'too old: are the clocks right?']);
        }
        $call = json_decode($body, true);
        $isCall = is_array($call) && is_string($call['tool'] ?? null)
            && is_array($call['arguments'] ?? null) && is_array($call['user'] ?? null)
            && is_string($call['call_id'] ?? null);
        if (!$isCall) {
            self::answer(400, ['error' => 'no call']);
        }
        if (!self::isFirst($folder, $call['call_id'])) {
            self::answer(409, ['error' => 'this call was made before']);
        }
        return new self($call['tool'], $call['arguments'], $call['user'], $call['call_id']);
    }

    /** The member of this site who asks; null: somebody of another's. */
    public function member(string $issuer): ?string
    {
        return ($this->user['issuer'] ?? null) === $issuer
            ? ($this->user['external_id'] ?? null) : null;
    }

    /**
     * Answers, and ends. 2xx: the model reads the body. 400, 404, 409, 410 and
     * 422: it reads why not. Of anything else it hears the status alone.
     *
     * @param array<string, mixed> $data
     */
    public static function answer(int $status, array $data): never
    {
        http_response_code($status);
        header('Content-Type: application/json');
        header('Cache-Control: no-store');
        echo json_encode($data, JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE);
        exit;
    }

    /** "v1=…", or two of them with a comma between: one that fits is enough. */
    private static function isSigned(array $secrets, string $time, string $header, string $body): bool
    {
        $isSigned = false;
        if (!preg_match('/^[0-9]{1,12}$/', $time)) {
            return false;
        }
        foreach (explode(',', $header) as $one) {
            foreach ($secrets as $secret) {
                $want = 'v1=' . hash_hmac('sha256', "$time.$body", $secret);
                $isSigned = hash_equals($want, trim($one)) || $isSigned;
            }
        }
        return $isSigned;
    }

    /** Was there no such call yet? Remembers it as long as it could come again. */
    private static function isFirst(string $folder, string $id): bool
    {
        foreach (glob("$folder/call-*") ?: [] as $old) {
            if (@filemtime($old) < time() - 2 * self::WINDOW - 60) {
                @unlink($old);
            }
        }
        $file = @fopen("$folder/call-" . hash('sha256', $id), 'x');
        if ($file === false && !is_writable($folder)) {
            self::answer(500, ['error' => 'the site cannot remember calls']);
        }
        return $file !== false;
    }
}

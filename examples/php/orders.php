<?php

declare(strict_types=1);

// The site's orders. A real site has them in its database already.

/** @return array<string, mixed>|null with `member`, whose it is */
function find_order(string $file, string $number): ?array
{
    $orders = json_decode((string) file_get_contents($file), true, flags: JSON_THROW_ON_ERROR);
    foreach ($orders as $order) {
        if ($order['order'] === $number) {
            return $order;
        }
    }
    return null;
}

/** The tool's secrets, one a line: two while one is being changed.
 *  @return list<string> */
function tool_secrets(string $file): array
{
    $lines = is_readable($file) ? file($file, FILE_IGNORE_NEW_LINES | FILE_SKIP_EMPTY_LINES) : false;
    if (!$lines) {
        throw new RuntimeException('the tool has no secret: see README.md');
    }
    return $lines;
}

<?php

declare(strict_types=1);

// The site's own idea of who is there. A real site has this already: it knows
// its members and their passwords (here: correct horse battery), and Natter
// never hears of the latter.
const MEMBERS = [
    'ada' => ['id' => '17', 'username' => 'ada', 'name' => 'Ada Lovelace',
        'password' => '$2y$10$svU002.fOSxXyeQ6sdwWPO3iF7HJBSgKqCdziot8cUOtDHOSRB3NC'],
];

/** @return array{id: string, username: string, name: string}|null */
function current_member(): ?array
{
    $member = MEMBERS[$_SESSION['member'] ?? ''] ?? null;
    unset($member['password']);
    return $member;
}

/** Is the request from a page of this site, and not forged by another's? */
function is_from_here(): bool
{
    $sent = $_SERVER['HTTP_X_CSRF_TOKEN'] ?? $_POST['csrf'] ?? '';
    return isset($_SESSION['csrf']) && is_string($sent) && hash_equals($_SESSION['csrf'], $sent);
}

function start_session(): void
{
    session_start(['cookie_httponly' => true, 'cookie_samesite' => 'Lax',
        'cookie_secure' => ($_SERVER['HTTPS'] ?? '') !== '', 'use_strict_mode' => true]);
    $_SESSION['csrf'] ??= bin2hex(random_bytes(16));
}

<?php

declare(strict_types=1);

// POST {question}: streams the reply to the member's page as plain text.
require __DIR__ . '/Natter.php';
require __DIR__ . '/site.php';

start_session();
$member = current_member();
$question = json_decode(file_get_contents('php://input'), true)['question'] ?? null;
if ($member === null || !is_from_here() || !is_string($question)) {
    http_response_code($member === null ? 401 : 400);
    exit;
}
try {
    $natter = new Natter(require __DIR__ . '/config.php', $_SESSION['natter'] ?? null);
    $natter->enter($member);
    $_SESSION['natter'] = $natter->tokens();
    $_SESSION['conversation'] ??= $natter->converse();
    $conversation = $_SESSION['conversation'];
    // PHP locks the session: without this the member's other pages would wait
    // for the end of the reply.
    session_write_close();

    header('Content-Type: text/plain; charset=utf-8');
    header('X-Accel-Buffering: no'); // nginx in front of PHP passes each piece on
    while (ob_get_level() > 0) {
        ob_end_flush();
    }
    $natter->ask($conversation, $question, static function (string $text): void {
        echo $text;
        flush();
    });
} catch (NatterProblem $problem) {
    error_log("natter: {$problem->getMessage()}");
    if (headers_sent()) {
        echo "\n[The reply was cut short.]\n";
    } else {
        http_response_code($problem->getCode() === 503 ? 503 : 502);
        echo 'The chat is not available right now.';
    }
}

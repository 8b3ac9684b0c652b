<?php

declare(strict_types=1);

// php cli.php MEMBER QUESTION...: signs the member in, asks each question in
// one conversation, prints the replies as they come.
require __DIR__ . '/Natter.php';

if ($argc < 3) {
    fwrite(STDERR, "usage: php cli.php MEMBER QUESTION...\n");
    exit(2);
}
try {
    $member = ['id' => $argv[1], 'username' => $argv[1], 'name' => ucfirst($argv[1])];
    $natter = new Natter(require __DIR__ . '/config.php');
    $natter->enter($member);
    fwrite(STDERR, "signed in as {$natter->tokens()['username']}\n");
    $conversation = $natter->converse();
    foreach (array_slice($argv, 2) as $question) {
        $natter->enter($member);
        $natter->ask($conversation, $question, static function (string $text): void {
            echo $text;
        });
        echo "\n";
    }
    $natter->signOut();
} catch (NatterProblem $problem) {
    fwrite(STDERR, $problem->getMessage() . "\n");
    exit(1);
}

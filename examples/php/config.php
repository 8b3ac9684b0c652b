<?php

declare(strict_types=1);

// The site's settings, from its environment. SITE_ISSUER and SITE_AUDIENCE are
// what natterd has as CHAT_EXCHANGE_ISSUER and CHAT_EXCHANGE_AUDIENCE.
return [
    'natter' => getenv('NATTER_URL') ?: 'http://127.0.0.1:8080',
    'issuer' => getenv('SITE_ISSUER') ?: 'https://club.example',
    'audience' => getenv('SITE_AUDIENCE') ?: 'natter',
    'key_file' => getenv('SITE_KEY_FILE') ?: __DIR__ . '/keys/site-key.pem',
    'site' => 'club.example', // names the sessions, and their device
];

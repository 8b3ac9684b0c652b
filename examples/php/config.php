<?php

declare(strict_types=1);

// The site's settings, from its environment. SITE_ISSUER and SITE_AUDIENCE are
// what natterd has as CHAT_EXCHANGE_ISSUER and CHAT_EXCHANGE_AUDIENCE.
return [
    'natter' => getenv('NATTER_URL') ?: 'http://127.0.0.1:8080',
    'issuer' => getenv('SITE_ISSUER') ?: 'https://club.example',
    'audience' => getenv('SITE_AUDIENCE') ?: 'natter',
    'key_file' => getenv('SITE_KEY_FILE') ?: __DIR__ . '/keys/site-key.pem',
    // The id of the store whose conversations have the site's tools; or none.
    'store' => getenv('NATTER_STORE') ?: null,
    'tool_secrets_file' => getenv('SITE_TOOL_SECRETS_FILE') ?: __DIR__ . '/keys/order-status.secret',
    'orders_file' => getenv('SITE_ORDERS_FILE') ?: __DIR__ . '/orders.json',
    'calls_dir' => getenv('SITE_CALLS_DIR') ?: __DIR__ . '/keys',
    'site' => 'club.example', // names the sessions, and their device
];

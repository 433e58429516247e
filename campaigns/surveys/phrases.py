"""The phrases of programmes and surveys in five languages; `words` puts them into templates, `asking` into answers.

Text messages avoid what would make two segments of one where the language allows it.
"""

# What a template may say of its reader and sender, in Liquid.
NAME, US = "{% if customer.first_name %} {{ customer.first_name }}{% endif %}", "{{ organisation.name }}"
ANSWER, PAGE = "{{ links.answer }}", "{{ links.survey }}"
_ENDS = ("{{ survey.low }}", "{{ survey.high }}")

PHRASES: dict[str, dict[str, str]] = {
    "en": {
        "hello": f"Hello{NAME},",
        "survey_subject": f"One question from {US}",
        "survey_page": f"**[Answer on one page]({PAGE})**",
        "survey_press": "Your choice is recorded when you press the button there.",
        "survey_sms": f"Reply {_ENDS[0]} to {_ENDS[1]}, STOP to opt out",
        "off_scale": "Please reply with a number from {low} to {high}.",
        "check_subject": "How is it going?",
        "check_body": "We would like to know how things are with what you have from us.\n\n"
        f"**[Tell us how it is going]({ANSWER})**\n\n"
        "It takes less than a minute. If something is wrong, a person will take care of it.",
        "check_sms": "how is it going? Reply 1 if all is well, 2 if something is wrong, STOP to opt out",
        "start_subject": "Getting started",
        "start_body": "Welcome. The first steps are quick, and we are here if one of them does not work.\n\n"
        f"**[Tell us where you are]({ANSWER})**",
        "start_sms": "welcome! If a first step does not work, reply here. STOP to opt out",
        "tip_subject": f"A tip from {US}",
        "tip_body": f"Something that others found useful with what you have:\n\n**[Ask us how it works]({ANSWER})**",
        "tip_sms": "we have a tip for you. Reply to hear it, STOP to opt out",
        "service_subject": "Time for maintenance",
        "service_body": "It is time to look after what you have from us:",
        "service_done": f"**[It is done, or I need help]({ANSWER})**",
        "service_sms": "maintenance is due. Reply 1 when it is done, 2 if you need help, STOP to opt out",
    },
    "de": {
        "hello": f"Guten Tag{NAME},",
        "survey_subject": f"Eine Frage von {US}",
        "survey_page": f"**[Auf einer Seite antworten]({PAGE})**",
        "survey_press": "Ihre Wahl wird erst gespeichert, wenn Sie dort auf den Knopf drücken.",
        "survey_sms": f"Antworten Sie mit {_ENDS[0]} bis {_ENDS[1]}, STOP zum Abmelden",
        "off_scale": "Bitte antworten Sie mit einer Zahl von {low} bis {high}.",
        "check_subject": "Wie läuft es?",
        "check_body": "Wir möchten gern wissen, wie es mit dem geht, was Sie von uns haben.\n\n"
        f"**[Sagen Sie uns, wie es läuft]({ANSWER})**\n\n"
        "Es dauert keine Minute. Wenn etwas nicht stimmt, kümmert sich ein Mensch darum.",
        "check_sms": "Wie läuft es? Antworten Sie 1, wenn alles gut ist, 2, wenn etwas nicht stimmt, STOP zum Abmelden",
        "start_subject": "Die ersten Schritte",
        "start_body": "Willkommen. Die ersten Schritte gehen schnell, und wir sind da, wenn einer nicht klappt.\n\n"
        f"**[Sagen Sie uns, wo Sie stehen]({ANSWER})**",
        "start_sms": "Willkommen! Wenn ein erster Schritt nicht klappt, antworten Sie hier. STOP zum Abmelden",
        "tip_subject": f"Ein Tipp von {US}",
        "tip_body": "Das fanden andere mit dem, was Sie haben, nützlich:\n\n"
        f"**[Fragen Sie uns, wie es geht]({ANSWER})**",
        "tip_sms": "Wir haben einen Tipp für Sie. Antworten Sie, um ihn zu hören, STOP zum Abmelden",
        "service_subject": "Zeit für die Wartung",
        "service_body": "Es ist Zeit, sich um das zu kümmern, was Sie von uns haben:",
        "service_done": f"**[Es ist erledigt, oder ich brauche Hilfe]({ANSWER})**",
        "service_sms": "Die Wartung ist fällig. Antworten Sie 1, wenn sie erledigt ist, 2, wenn Sie Hilfe brauchen, "
        "STOP zum Abmelden",
    },
    "fr": {
        "hello": f"Bonjour{NAME},",
        "survey_subject": f"Une question de {US}",
        "survey_page": f"**[Répondre sur une page]({PAGE})**",
        "survey_press": "Votre choix est enregistré quand vous appuyez sur le bouton de cette page.",
        "survey_sms": f"Répondez de {_ENDS[0]} à {_ENDS[1]}, STOP pour ne plus rien recevoir",
        "off_scale": "Merci de répondre par un nombre de {low} à {high}.",
        "check_subject": "Comment ça se passe ?",
        "check_body": "Nous aimerions savoir comment cela se passe avec ce que vous avez de chez nous.\n\n"
        f"**[Dites-nous comment ça se passe]({ANSWER})**\n\n"
        "Cela prend moins d'une minute. Si quelque chose ne va pas, une personne s'en occupera.",
        "check_sms": "comment ça se passe ? Répondez 1 si tout va bien, 2 si quelque chose ne va pas, "
        "STOP pour ne plus rien recevoir",
        "start_subject": "Bien commencer",
        "start_body": "Bienvenue. Les premiers pas sont rapides, et nous sommes là si l'un d'eux coince.\n\n"
        f"**[Dites-nous où vous en êtes]({ANSWER})**",
        "start_sms": "bienvenue ! Si un premier pas coince, répondez ici. STOP pour ne plus rien recevoir",
        "tip_subject": f"Un conseil de {US}",
        "tip_body": "Ce que d'autres ont trouvé utile avec ce que vous avez :\n\n"
        f"**[Demandez-nous comment faire]({ANSWER})**",
        "tip_sms": "nous avons un conseil pour vous. Répondez pour le recevoir, STOP pour ne plus rien recevoir",
        "service_subject": "C'est le moment de l'entretien",
        "service_body": "Il est temps d'entretenir ce que vous avez de chez nous :",
        "service_done": f"**[C'est fait, ou j'ai besoin d'aide]({ANSWER})**",
        "service_sms": "l'entretien est à faire. Répondez 1 quand c'est fait, 2 si vous avez besoin d'aide, "
        "STOP pour ne plus rien recevoir",
    },
    "es": {
        "hello": f"Hola{NAME}:",
        "survey_subject": f"Una pregunta de {US}",
        "survey_page": f"**[Responder en una página]({PAGE})**",
        "survey_press": "Su respuesta se guarda cuando pulsa el botón de esa página.",
        "survey_sms": f"Responda de {_ENDS[0]} a {_ENDS[1]}, STOP para no recibir más",
        "off_scale": "Por favor, responda con un número de {low} a {high}.",
        "check_subject": "¿Cómo va todo?",
        "check_body": "Nos gustaría saber cómo le va con lo que tiene de nosotros.\n\n"
        f"**[Cuéntenos cómo va]({ANSWER})**\n\n"
        "Lleva menos de un minuto. Si algo no va bien, una persona se ocupará.",
        "check_sms": "¿cómo va todo? Responda 1 si todo va bien, 2 si algo no va bien, STOP para no recibir más",
        "start_subject": "Primeros pasos",
        "start_body": "Le damos la bienvenida. Los primeros pasos son rápidos, y aquí estamos si alguno no sale.\n\n"
        f"**[Díganos por dónde va]({ANSWER})**",
        "start_sms": "¡hola! Si un primer paso no sale, responda aquí. STOP para no recibir más",
        "tip_subject": f"Un consejo de {US}",
        "tip_body": "Algo que a otras personas les ha servido con lo que usted tiene:\n\n"
        f"**[Pregúntenos cómo se hace]({ANSWER})**",
        "tip_sms": "tenemos un consejo para usted. Responda para recibirlo, STOP para no recibir más",
        "service_subject": "Toca el mantenimiento",
        "service_body": "Es hora de cuidar lo que tiene de nosotros:",
        "service_done": f"**[Ya está hecho, o necesito ayuda]({ANSWER})**",
        "service_sms": "toca el mantenimiento. Responda 1 cuando esté hecho, 2 si necesita ayuda, "
        "STOP para no recibir más",
    },
    "pt": {
        "hello": f"Olá{NAME},",
        "survey_subject": f"Uma pergunta de {US}",
        "survey_page": f"**[Responder em uma página]({PAGE})**",
        "survey_press": "A sua escolha é registrada quando você aperta o botão dessa página.",
        "survey_sms": f"Responda de {_ENDS[0]} a {_ENDS[1]}, STOP para sair",
        "off_scale": "Por favor, responda com um número de {low} a {high}.",
        "check_subject": "Como está indo?",
        "check_body": "Gostaríamos de saber como vão as coisas com o que você tem de nós.\n\n"
        f"**[Conte como está indo]({ANSWER})**\n\n"
        "Leva menos de um minuto. Se algo não estiver bem, uma pessoa vai cuidar disso.",
        "check_sms": "como está indo? Responda 1 se tudo está bem, 2 se algo não está, STOP para sair",
        "start_subject": "Primeiros passos",
        "start_body": "Boas-vindas. Os primeiros passos são rápidos, e estamos aqui se algum não der certo.\n\n"
        f"**[Diga em que ponto você está]({ANSWER})**",
        "start_sms": "boas-vindas! Se um primeiro passo não der certo, responda aqui. STOP para sair",
        "tip_subject": f"Uma dica de {US}",
        "tip_body": "Algo que outras pessoas acharam útil com o que você tem:\n\n"
        f"**[Pergunte como funciona]({ANSWER})**",
        "tip_sms": "temos uma dica para você. Responda para receber, STOP para sair",
        "service_subject": "Hora da manutenção",
        "service_body": "É hora de cuidar do que você tem de nós:",
        "service_done": f"**[Está feito, ou preciso de ajuda]({ANSWER})**",
        "service_sms": "a manutenção está na hora. Responda 1 quando estiver feita, 2 se precisar de ajuda, "
        "STOP para sair",
    },
}
LANGUAGES = tuple(PHRASES)


def phrase(name: str, language: str | None) -> str:
    """Return one phrase in a language such as de or de-AT, in English where there is none."""
    wanted = (language or "en").replace("_", "-").split("-")[0].lower()
    return PHRASES.get(wanted, PHRASES["en"])[name]
